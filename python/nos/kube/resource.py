"""What a path of the API server is about, in words of a bounded set: never a name."""


def resource_of(path: str) -> str:
    """`pods/binding` of `/api/v1/namespaces/team/pods/train/binding?timeout=4s`."""
    _, root, *parts = path.partition("?")[0].split("/")
    parts = parts[1:] if root == "api" else parts[2:] if root == "apis" else []  # less the group and its version
    if len(parts) > 2 and parts[0] == "namespaces":
        parts = parts[2:]
    if not parts:
        return "other"
    return f"{parts[0]}/{parts[2]}" if len(parts) > 2 else parts[0]
