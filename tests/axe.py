"""Checks pages in a browser against the rules of accessibility, with axe-core as vendored (4.14.1, MPL 2.0).

The file is vendored, since tests fetch nothing; `tests/browser_assets/axe/` holds it beside its licences, unchanged.
"""

from __future__ import annotations

from pathlib import Path

from playwright.async_api import Page

AXE = Path(__file__).parent / "browser_assets/axe/axe.min.js"

# What a reader with a screen reader, a keyboard or weak eyes cannot get past. "moderate" and "minor" are advice.
GRAVE = ("serious", "critical")

RUN = """async grave => {
    // axe-core measures colours as they are at that moment: transitions have to be at their end.
    for (const animation of document.getAnimations()) {
        try { animation.finish(); } catch { /* an endless one has no end */ }
    }
    const found = await axe.run(document, { resultTypes: ["violations"] });
    return found.violations
        .filter(violation => grave.includes(violation.impact))
        .flatMap(violation => violation.nodes.map(node => {
            const why = [...node.any, ...node.all, ...node.none].map(check => check.message).join("; ");
            return `${violation.impact} ${violation.id} at ${node.target.join(" ")}: ${why}`;
        }));
}"""


async def serious(page: Page) -> list[str]:
    """The page's violations of impact serious or critical as it stands now, a line for each element: rule, selector, reason."""
    if not await page.evaluate("typeof window.axe === 'object'"):
        # By the debugger, not by a script element: a page's content security policy would refuse that.
        await page.evaluate(AXE.read_text(encoding="utf-8") + "\n;true")
    return list(await page.evaluate(RUN, list(GRAVE)))
