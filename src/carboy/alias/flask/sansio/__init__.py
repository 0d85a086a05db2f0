"""`flask.sansio`: names of Flask's own layers, all of them one class here."""
