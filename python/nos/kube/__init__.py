"""All that speaks to the API server: client, watch, lease; decode (JSON to core), encode (decision to request).

Nothing here decides anything, and nothing outside imports `kubernetes` or aiohttp's client.
"""
