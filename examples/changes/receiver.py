#!/usr/bin/env python3
"""Receives the change feed, verified as Standard Webhooks with nothing but Python's own library.

CHANGES_WEBHOOK_SECRET=whsec_... python3 receiver.py [port]
"""
import base64, hashlib, hmac, json, os, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = base64.b64decode(os.environ["CHANGES_WEBHOOK_SECRET"].removeprefix("whsec_"))
TOLERANCE_SECONDS = 300
seen = set()  # In a real receiver: a unique column, in the transaction of the work.


def is_signed(headers, body):
    message_id, sent_at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not sent_at.isdigit() or abs(time.time() - int(sent_at)) > TOLERANCE_SECONDS:
        return False
    signed = f"{message_id}.{sent_at}.".encode() + body
    expected = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    given = [part.removeprefix("v1,") for part in headers.get("webhook-signature", "").split(" ") if part.startswith("v1,")]
    return any(hmac.compare_digest(expected, one) for one in given)


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        is_good = is_signed(self.headers, body)
        if is_good and self.headers["webhook-id"] not in seen:  # At least once: the same change may come again.
            seen.add(self.headers["webhook-id"])
            change = json.loads(body)
            print(change["type"], change["data"]["id"], flush=True)
        self.send_response(204 if is_good else 401)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 8000), Receiver)
    print("listening on", server.server_address[1], flush=True)
    server.serve_forever()
