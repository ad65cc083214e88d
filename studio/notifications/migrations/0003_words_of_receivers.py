from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("notifications", "0002_former_secret"),
    ]

    operations = [
        migrations.RenameField(model_name="delivery", old_name="said", new_name="problem"),
        migrations.AddField(model_name="delivery", name="words", field=models.CharField(blank=True, max_length=500)),
    ]
