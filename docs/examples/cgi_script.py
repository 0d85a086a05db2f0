#!/usr/bin/env python3
import sys

from carboy.gateways.cgi import run

from hello import app

sys.exit(run(app))
