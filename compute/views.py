"""Pages of compute targets, by what they show."""

from compute.create_views import create_cluster
from compute.detail_views import delete_target, edit_identity, edit_scale, preempt_node, target_detail
from compute.list_views import delete_targets, target_list, target_row

__all__ = [
    "create_cluster",
    "delete_target",
    "delete_targets",
    "edit_identity",
    "edit_scale",
    "preempt_node",
    "target_detail",
    "target_list",
    "target_row",
]
