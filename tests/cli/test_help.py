"""Help: every command is there, says what every command takes, and costs next to nothing."""

import subprocess
import sys

import pytest

