from django.apps import AppConfig


class RunsConfig(AppConfig):
    name = "runs"

    def ready(self) -> None:
        """Have the rows of runs travel with their nudges."""
        from runs.listing import row_html
        from studio import parts

        parts.register("run", row_html)
