from django.apps import AppConfig


class RunsConfig(AppConfig):
    name = "runs"

    def ready(self) -> None:
        """Have the rows of runs travel with their nudges, and the activity find runs and experiments."""
        from runs import links
        from runs.listing import row_html
        from studio import parts
        from studio.people import activity

        parts.register("run", row_html)
        activity.register("run", links.runs)
        activity.register("experiment", links.experiments)
