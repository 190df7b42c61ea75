"""Names of hosts, as whoever sent a request knows them: who answers decides what is believed."""

from typing import Final

#: Microsoft's domains for Azure: the global cloud, that of the US government, that of China.
#: Their hosts are such as `acme.openai.azure.us`.
_AZURE: Final = ("azure.com", "azure.us", "azure.cn")


def host_name(host: str) -> str:
    """Return the name in *host* alone: in lower case, without a port or a final dot."""
    return host.lower().partition(":")[0].rstrip(".")


def is_below(host: str, domain: str) -> bool:
    """Whether *host* is *domain* or one below it, such as `eu.api.openai.com`."""
    return f".{host_name(host)}".endswith(f".{domain}")


def is_azure(host: str) -> bool:
    """Whether *host* is one of Azure's."""
    return any(is_below(host, domain) for domain in _AZURE)
