"""Prints the limits as openstacksdk reads them: arguments are the endpoint and a token."""

import json
import sys

from keystoneauth1.session import Session
from keystoneauth1.token_endpoint import Token
from openstack.connection import Connection

url, token = sys.argv[1:]
session = Session(auth=Token(url, token))
cloud = Connection(session=session, compute_endpoint_override=url, compute_api_version="2.1")
limits = cloud.compute.get_limits()
rates = [
    [rate.uri, limit["verb"], limit["value"], limit["remaining"], limit["unit"], limit["next-available"]]
    for rate in limits.rate
    for limit in rate.limits
]
print(json.dumps({"rates": rates, "absolute": {"maxImageMeta": limits.absolute.image_meta}}))
