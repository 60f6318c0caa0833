"""URLs without ours."""

urlpatterns: list[object] = []
