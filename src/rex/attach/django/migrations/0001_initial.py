"""The names of files."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """Create the model of the names."""

    initial = True

    operations = [  # noqa: RUF012 - as Django writes it
        migrations.CreateModel(
            name="File",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("storage", models.CharField(max_length=64, verbose_name="storage")),
                ("name", models.CharField(db_index=True, max_length=500, verbose_name="name")),
                ("handle", models.CharField(max_length=400, verbose_name="handle")),
                ("created", models.DateTimeField(verbose_name="created")),
            ],
            options={"verbose_name": "file", "verbose_name_plural": "files"},
        ),
        migrations.AddConstraint(
            model_name="file",
            constraint=models.UniqueConstraint(
                fields=["storage", "name"], name="rex_attach_file_name"
            ),
        ),
    ]
