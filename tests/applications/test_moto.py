"""moto's server: S3 and SQS as Amazon's own client for Python speaks them."""

from __future__ import annotations

import subprocess

import pytest

pytestmark = pytest.mark.slow

S3 = """
import io, sys, urllib.request
import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

s3 = boto3.client("s3", endpoint_url=sys.argv[1], region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="s",
                  config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}))
s3.create_bucket(Bucket="cellar")
s3.put_object(Bucket="cellar", Key="red/1 & 2.txt", Body=b"bottle", Metadata={"shelf": "upper"}, ContentType="text/plain")
got = s3.get_object(Bucket="cellar", Key="red/1 & 2.txt")
assert (got["Body"].read(), got["Metadata"], got["ContentType"]) == (b"bottle", {"shelf": "upper"}, "text/plain")
assert s3.get_object(Bucket="cellar", Key="red/1 & 2.txt", Range="bytes=1-3")["Body"].read() == b"ott"
big = bytes(range(256)) * 4 * 10240
upload = s3.create_multipart_upload(Bucket="cellar", Key="big")["UploadId"]
parts = [s3.upload_part(Bucket="cellar", Key="big", UploadId=upload, PartNumber=n, Body=big)["ETag"] for n in (1, 2)]
s3.complete_multipart_upload(Bucket="cellar", Key="big", UploadId=upload,
                             MultipartUpload={"Parts": [{"ETag": tag, "PartNumber": n} for n, tag in enumerate(parts, 1)]})
assert s3.head_object(Bucket="cellar", Key="big")["ContentLength"] == 2 * len(big)
buffer = io.BytesIO()
s3.download_fileobj("cellar", "big", buffer)
assert buffer.getvalue() == big * 2
listed = s3.list_objects_v2(Bucket="cellar", Prefix="red/")
assert [each["Key"] for each in listed["Contents"]] == ["red/1 & 2.txt"]
url = s3.generate_presigned_url("get_object", Params={"Bucket": "cellar", "Key": "red/1 & 2.txt"})
assert urllib.request.urlopen(url).read() == b"bottle"
s3.delete_object(Bucket="cellar", Key="big")
try:
    s3.head_object(Bucket="cellar", Key="big")
except ClientError as error:
    assert error.response["Error"]["Code"] == "404"
else:
    raise AssertionError("it is still there")
print("well")
"""

SQS = """
import sys
import boto3

sqs = boto3.client("sqs", endpoint_url=sys.argv[1], region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="s")
queue = sqs.create_queue(QueueName="orders")["QueueUrl"]
queue = sys.argv[1] + "/" + queue.split("/", 3)[3]
for number in range(3):
    sqs.send_message(QueueUrl=queue, MessageBody=f"order {number}")
got = []
while len(got) < 3:
    for message in sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]:
        got.append(message["Body"])
        sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
assert sorted(got) == ["order 0", "order 1", "order 2"], got
assert "Messages" not in sqs.receive_message(QueueUrl=queue)
print("well")
"""


@pytest.mark.parametrize(("service", "script"), [("s3", S3), ("sqs", SQS)], ids=["s3", "sqs"])
def test_moto_serves_amazons_client(serve, service, script):
    """The service's Flask application, made by its factory, satisfies boto3."""
    app = serve("moto", f"moto.moto_server.werkzeug_app:create_backend_app('{service}')")
    done = subprocess.run(
        [app.python, "-c", script, app.url], capture_output=True, text=True, timeout=120, check=False,
    )
    assert (done.returncode, done.stdout) == (0, "well\n"), done.stderr + app.log.read_text()[-3000:]
