"""What all object servers share, over obstore."""
