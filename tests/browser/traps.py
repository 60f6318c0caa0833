"""Files whose script a browser would run, if it took them for what they try to be."""

from __future__ import annotations

from typing import NamedTuple

STYLE = "(the address of the stylesheet)"


class Trap(NamedTuple):
    """A file that runs a script where it can; `declared` is what its sender calls it."""

    name: str
    declared: tuple[str, ...]
    runs_as: str
    """The type with which a browser does run it."""
    text: str
    encoding: str = "utf-8"

    def content(self, report: str, style: str) -> bytes:
        """Give the bytes, which report to an address that they ran."""
        run = f"console.log('ran {self.name}');new Image().src='{report}{self.name}'"
        return self.text.replace("RUN", run).replace(STYLE, style).encode(self.encoding)


HTML = "text/html"
SVG = "image/svg+xml"
XML = "application/xml"
SCRIPT = "text/javascript"
LIES = (
    "image/png",
    "text/plain",
    "video/webm",
    "audio/mpeg",
    "application/octet-stream",
    "*/*",
)
"""What may be shown in place or played, and what makes a browser guess."""

STYLESHEET = (
    '<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform">'
    '<xsl:template match="/"><html><body><xsl:copy-of select="*"/></body></html></xsl:template>'
    "</xsl:stylesheet>"
)

TRAPS = (
    Trap(
        "load.svg",
        (SVG, "image/png"),
        SVG,
        '<svg xmlns="http://www.w3.org/2000/svg" onload="RUN"/>',
    ),
    Trap(
        "script.svg",
        (SVG,),
        SVG,
        '<svg xmlns="http://www.w3.org/2000/svg"><script>RUN</script></svg>',
    ),
    Trap(
        "page.html", (HTML, "application/pdf", *LIES), HTML, "<!doctype html><script>RUN</script>"
    ),
    Trap(
        "page.xhtml",
        ("application/xhtml+xml",),
        "application/xhtml+xml",
        '<html xmlns="http://www.w3.org/1999/xhtml"><script>RUN</script></html>',
    ),
    Trap(
        "script.xml",
        (XML, "text/xml", "application/rss+xml"),
        XML,
        '<a><script xmlns="http://www.w3.org/1999/xhtml">RUN</script></a>',
    ),
    Trap(
        "styled.xml",
        (XML, "application/xslt+xml"),
        XML,
        f'<?xml version="1.0"?><?xml-stylesheet type="text/xsl" href="{STYLE}"?>'
        "<script>RUN</script>",
    ),
    Trap("image.gif", ("image/gif", "audio/x-wav", SCRIPT), SCRIPT, "GIF89a/*\0\0*/=1;RUN"),
    Trap("paper.pdf", ("application/pdf", HTML), HTML, "%PDF-1.4\n<script>RUN</script>"),
    Trap("picture.png", ("image/png", HTML), HTML, "<script>RUN</script>"),
    Trap(
        "module.mjs",
        (SCRIPT, "application/javascript", "text/ecmascript; charset=utf-8"),
        SCRIPT,
        "export default 1;RUN",
    ),
    Trap("classic.js", (SCRIPT, "application/x-javascript", "text/jscript", *LIES), SCRIPT, "RUN"),
    Trap(
        "wide.html",
        ("text/html; charset=utf-16le", "text/plain; charset=utf-16le"),
        "text/html; charset=utf-16le",
        "<script>RUN</script>",
        "utf-16le",
    ),
    Trap(
        "escapes.html",
        ("text/html; charset=iso-2022-jp", "text/plain; charset=iso-2022-jp"),
        "text/html; charset=iso-2022-jp",
        '<img alt="\x1b$B"><img alt="\x1b(B" src="data:," onerror="RUN">',
    ),
    Trap(
        "saved.mhtml",
        ("message/rfc822", "application/x-mimearchive"),
        HTML,
        'MIME-Version: 1.0\r\nContent-Type: multipart/related; boundary="x"\r\n\r\n--x\r\n'
        "Content-Type: text/html\r\nContent-Location: http://saved/\r\n\r\n"
        "<script>RUN</script>\r\n--x--\r\n",
    ),
)
