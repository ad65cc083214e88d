"""Pages of compute targets, by what they show."""

from compute.attach_views import attach_target, edit_connection
from compute.azure_views import azure_sign_in, test_azure_sign_in
from compute.connection_views import accept_host_key, detach_target, look_again
from compute.create_views import create_cluster
from compute.detail_views import delete_target, edit_identity, edit_scale, preempt_node, target_detail
from compute.list_views import delete_targets, target_list, target_row

__all__ = [
    "accept_host_key",
    "attach_target",
    "azure_sign_in",
    "create_cluster",
    "delete_target",
    "delete_targets",
    "detach_target",
    "edit_connection",
    "edit_identity",
    "edit_scale",
    "look_again",
    "preempt_node",
    "target_detail",
    "target_list",
    "target_row",
    "test_azure_sign_in",
]
