"""What runs first in the container, unless the manifest brings its own text.

It is the text that is baked into the container, not a file that somebody could change. Any image with a POSIX shell and
setpriv or chroot will do.
"""

from __future__ import annotations

DEFAULT = """\
set -eu
name=$1 uid=$2 gid=$3
shift 3
# an image without this user gets it; `exec -u` looks it up here
grep -q "^$name:" /etc/group || echo "$name:x:$gid:" >>/etc/group
grep -q "^$name:" /etc/passwd || echo "$name:x:$uid:$gid::/home/$name:/bin/sh" >>/etc/passwd
if command -v setpriv >/dev/null; then
    exec setpriv --reuid "$uid" --regid "$gid" --clear-groups -- "$@"
fi
exec chroot --userspec="$uid:$gid" / /bin/sh -c 'cd "$0" && exec "$@"' "$PWD" "$@"
"""
