"""Read-only tiles and walls over what a workspace does: kept fresh by nudges, shared by role or by a link."""
