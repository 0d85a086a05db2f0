"""Greets in the language that the browser asks for: a complete extension."""

from dataclasses import dataclass

from carboy import Fitting


@dataclass
class Settings:  # GREETING_FALLBACK in the config
    fallback: str = "en"


class Greeting:
    """What a view gets by a parameter of this type."""

    words = {"en": "Hello", "de": "Hallo", "fr": "Bonjour"}

    def __init__(self, language: str) -> None:
        self.language = language

    def to(self, name: str) -> str:
        return f"{self.words[self.language]}, {name}!"


class Greeter:
    name = "greeting"
    requires: tuple[str, ...] = ()

    def setup(self, fit: Fitting) -> None:
        settings = fit.config(Settings)
        fit.check("fallback", lambda app: None if settings.fallback in Greeting.words else "GREETING_FALLBACK is no language we speak")

        def greeting_of(ctx) -> Greeting:
            return Greeting(ctx.request.accept_languages.best_match(Greeting.words, settings.fallback))

        def say_so(ctx) -> None:
            ctx.response.vary.add("Accept-Language")

        fit.source(Greeting, greeting_of)
        fit.after(say_so)
        fit.template(languages=sorted(Greeting.words))
