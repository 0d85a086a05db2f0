"""Security by one line: `app.fit(Security())`. Each part can be fitted alone.

`headers` for the browser, `cross_origin` against forged writes, `cookies`, and `redirects` for `?next=`.
"""

from __future__ import annotations

from ...extend import Fitting
from ...extend import fit as fit_extension
from .cookies import CookieSettings as CookieSettings
from .cookies import SafeCookies as SafeCookies
from .cross_origin import CrossOrigin as CrossOrigin
from .cross_origin import CrossOriginSettings as CrossOriginSettings
from .cross_origin import cross_origin_exempt as cross_origin_exempt
from .headers import DEFAULT_CSP as DEFAULT_CSP
from .headers import HeaderSettings as HeaderSettings
from .headers import Nonce as Nonce
from .headers import SecurityHeaders as SecurityHeaders
from .redirects import is_safe_url as is_safe_url
from .redirects import safe_redirect as safe_redirect


class Security:
    """The defaults of a new application: security headers, refused writes of other sites, careful cookies.

    Example:
        >>> app = Carboy(__name__)
        >>> app.fit(Security())
    """

    name = "security"
    requires: tuple[str, ...] = ()

    def setup(self, fit: Fitting) -> None:
        """Fit the three."""
        # Cookies before headers: the fewer headers there are, the sooner it is seen that none is a cookie.
        for part in (SafeCookies(), SecurityHeaders(), CrossOrigin()):
            fit_extension(fit.app, part)
