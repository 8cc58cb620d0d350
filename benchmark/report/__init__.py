"""What people read of a run: `report.html`, one file, made from the run folder alone.

`gather.py` reads the folder; each chapter is a file with one pure function from what was gathered to titled parts;
`page.py` lists the chapters, fills the template and writes the file.
"""

from benchmark.report.gather import Known
from benchmark.report.page import NAME, write

__all__ = ["NAME", "Known", "write"]
