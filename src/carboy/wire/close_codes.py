"""The codes with which a WebSocket is closed, by our names.

Source: RFC 6455 §7.4.1; 1012 and 3008: IANA's "WebSocket Close Code Number Registry".
"""

from __future__ import annotations

NORMAL = 1000
GOING_AWAY = 1001
WRONG_KIND = 1003
RESERVED = 1004
NO_CODE = 1005
ABNORMAL = 1006
INVALID_DATA = 1007
POLICY = 1008
TOO_LARGE = 1009
INTERNAL = 1011
RESTART = 1012
NO_TLS = 1015
TIMED_OUT = 3008

#: RFC 6455 §7.4.1: told to the application, never sent.
NEVER_SENT = frozenset({RESERVED, NO_CODE, ABNORMAL, NO_TLS})
