"""The ground under the apps, and the shell around them."""
