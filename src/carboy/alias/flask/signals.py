"""`flask.signals`."""

from blinker import Namespace as Namespace

from ...pipeline.signals import _signals as _signals
from ...pipeline.signals import appcontext_popped as appcontext_popped
from ...pipeline.signals import appcontext_pushed as appcontext_pushed
from ...pipeline.signals import appcontext_tearing_down as appcontext_tearing_down
from ...pipeline.signals import before_render_template as before_render_template
from ...pipeline.signals import got_request_exception as got_request_exception
from ...pipeline.signals import message_flashed as message_flashed
from ...pipeline.signals import request_finished as request_finished
from ...pipeline.signals import request_started as request_started
from ...pipeline.signals import request_tearing_down as request_tearing_down
from ...pipeline.signals import template_rendered as template_rendered
