"""One small application of ours for each extension; `runner.py` tells how they are tried."""
