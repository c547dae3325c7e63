import re
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_the_lines_of_python_in_the_readme_run(tmp_path):
    code, _ = re.findall(r"```python\n(.*?)```", README, re.S)  # the other wants a pipeline
    assert len([line for line in code.splitlines() if line and "import" not in line]) == 5
    code = code.replace("ilvr/assets", str(ROOT / "ilvr" / "assets"))
    exec(code.replace("sheet.png", str(tmp_path / "sheet.png")), {})
    assert Image.open(tmp_path / "sheet.png").width > 4 * 128


def test_what_the_readme_points_at_is_there():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target
