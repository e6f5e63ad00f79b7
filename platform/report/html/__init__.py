"""report.html: one self-contained page with what a sweep or a comparison found.

`report_page.write_report(judged, folder)` writes it; `report_sections` says what stands in it, `inline_svg` puts
matplotlib's figures into it; template, style and script lie beside them.
"""
