"""Prints the limits as python-novaclient reads them: arguments are the endpoint and a token."""

import json
import sys

from keystoneauth1.session import Session
from keystoneauth1.token_endpoint import Token
from novaclient.client import Client

url, token = sys.argv[1:]
limits = Client("2.1", session=Session(auth=Token(url, token)), endpoint_override=url).limits.get()
rates = [
    [rate.uri, rate.verb, rate.value, rate.remain, rate.unit, rate.next_available] for rate in limits.rate
]
print(json.dumps({"rates": rates, "absolute": {limit.name: limit.value for limit in limits.absolute}}))
