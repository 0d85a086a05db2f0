from flask import Flask, jsonify, request

app = Flask(__name__)


@app.before_request
def count():
    app.config["COUNT"] = app.config.get("COUNT", 0) + 1


@app.route("/sum")
def sum_up():
    return jsonify(sum=sum(request.args.getlist("n", type=int)), count=app.config["COUNT"])
