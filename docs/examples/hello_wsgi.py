from hello import app as application
