"""`flask.debughelpers`."""

from ...core.debughints import MissingFileError as DebugFilesKeyError
from ...core.debughints import RedirectLosesForm as FormDataRoutingRedirect
from ...core.debughints import UnexpectedUnicodeError as UnexpectedUnicodeError
from ...core.debughints import explain_missing_file as attach_enctype_error_multidict
from ...standard.templating import explain_template_loading_attempts as explain_template_loading_attempts

__all__ = (
    "DebugFilesKeyError",
    "FormDataRoutingRedirect",
    "UnexpectedUnicodeError",
    "attach_enctype_error_multidict",
    "explain_template_loading_attempts",
)
