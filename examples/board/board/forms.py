"""One form on its way: what was sent, and what is wrong with it.

Reading a field checks it. So a view reads the fields it wants, asks ``form.ok``, and shows the same page
again if not: the template finds what was typed in ``form.values`` and a message for each field in
``form.errors``. JSON goes the same way.
"""

import re
from collections.abc import Mapping
from typing import Any

# Control characters mean nothing in text; a lone surrogate (JSON can send one) is not even text.
NOT_TEXT = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


class Form:
    """What a visitor sent. Falsy values and absent fields are the same: an empty text.

    ```python
    form = Form(request.form)
    title = form.text("title", "The title", least=3, most=120)
    if form.ok: ...
    ```
    """

    def __init__(self, sent: Mapping[str, Any] | None = None) -> None:
        self.values: dict[str, Any] = {**sent} if sent else {}
        self.errors: dict[str, str] = {}

    @property
    def ok(self) -> bool:
        """No field has an error so far."""
        return not self.errors

    @property
    def status(self) -> int:
        """The HTTP status of the page that shows this form."""
        return 200 if self.ok else 422

    def text(self, field: str, label: str, *, least: int = 0, most: int) -> str:
        """Read a text, trimmed and cleaned.

        Args:
            field: its name in the form.
            label: what a message calls it, as the beginning of a sentence.
            least: fewest characters; 0 if the field may stay empty.
            most: most characters.
        """
        sent = self.values.get(field) or ""
        if not isinstance(sent, str):
            self.errors[field] = f"{label} has to be a text."
            return ""

        value = NOT_TEXT.sub("", sent.replace("\r\n", "\n")).strip()
        self.values[field] = value
        if least and not value:
            self.errors[field] = f"{label} is missing."
        elif len(value) < least:
            self.errors[field] = f"{label} needs at least {least} characters."
        elif len(value) > most:
            self.errors[field] = f"{label} may have {most} characters; it has {len(value)}."
        return value

    def secret(self, field: str, label: str) -> str:
        """Read a password: exactly as typed, and never shown again."""
        sent = self.values.pop(field, "")
        if not isinstance(sent, str) or not sent:
            self.errors[field] = f"{label} is missing."
            return ""
        if len(sent) > 1000:  # hashing takes its time; nobody needs to make it take more
            self.errors[field] = f"{label} may have 1000 characters."
            return ""
        return sent
