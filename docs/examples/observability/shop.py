"""An application whose service has a ping: `carboy run shop:app --management 127.0.0.1:9000 --access-log json`."""

import sqlite3

from carboy import Carboy
from carboy.extend import Fitting

app = Carboy(__name__)


class Database:
    """Where the orders are."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:", check_same_thread=False)


class DatabaseExtension:
    """Provides a database, and says how to ask whether it is well."""

    name = "db"
    requires = ()

    def setup(self, fit: Fitting) -> None:
        fit.provide(Database, Database, scope="app", ping=lambda database: database.connection.execute("select 1"))


app.fit(DatabaseExtension())


@app.get("/orders/<int:number>")
def order(number: int):
    return {"number": number}
