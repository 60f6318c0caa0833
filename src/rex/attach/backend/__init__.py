"""What a backend implements: its methods, its abilities, and the values they exchange."""
