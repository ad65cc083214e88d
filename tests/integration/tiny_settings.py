"""The studio's settings, and the tests' own kind of attachable compute: for processes of a studio under test."""

from compute.drivers import DRIVERS
from studio.settings import *  # noqa: F403

DRIVERS["Tiny"] = "tests.compute.tiny.TinyDriver"
