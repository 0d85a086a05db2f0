from time import sleep

from flask import Flask, jsonify, request

app = Flask(__name__)
served = []


@app.before_request
def count():
    served.append(request.path)


@app.route("/sum")
def sum_up():
    sleep(0.01)  # as if another service were asked
    return jsonify(sum=sum(request.args.getlist("n", type=int)), served=len(served))
