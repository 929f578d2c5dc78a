"""Run notebooks from top to bottom and save them, cleaned: python scripts/run.py [NAME ...], such as
43_style_transfer; all of them without a name.

A notebook in which a cell fails is left as it was. Progress bars do not go into the saved outputs: without
the page they were drawn on they show 0%. Pictures are saved with 256 colours, in a third of the space."""
import base64, io, os, subprocess, sys, time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from PIL import Image

NBS = Path(__file__).resolve().parents[1] / "nbs"


def is_bar(output):
    "Whether an output is a progress bar: a widget whose replacement text is a bar of tqdm."
    data = output.get("data", {})
    return "application/vnd.jupyter.widget-view+json" in data and "%|" in "".join(data.get("text/plain", ""))


def lighten(output):
    "Give the picture of an output, if it has one, 256 colours."
    data = output.get("data", {})
    if "image/png" not in data: return
    image = Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).convert("RGBA")
    page = Image.new("RGB", image.size, "white")
    page.paste(image, mask=image.getchannel("A"))
    file = io.BytesIO()
    page.quantize(256, dither=Image.Dither.NONE).save(file, "png", optimize=True)
    small = base64.b64encode(file.getvalue()).decode()
    if len(small) < len(data["image/png"]): data["image/png"] = small


def run(path):
    notebook = nbformat.read(path, as_version=4)
    how = dict(timeout=1200, store_widget_state=False, resources={"metadata": {"path": str(NBS)}})
    NotebookClient(notebook, **how).execute()
    for cell in notebook.cells:
        if cell.cell_type != "code": continue
        cell.outputs = [output for output in cell.outputs if not is_bar(output)]
        for output in cell.outputs: lighten(output)
    temporary = path.with_suffix(".tmp")
    nbformat.write(notebook, temporary)
    os.replace(temporary, path)
    subprocess.run([Path(sys.executable).parent / "nbdev_clean", "--fname", str(path)], check=True)


def main():
    names, failed = sys.argv[1:] or sorted(path.stem for path in NBS.glob("*.ipynb")), 0
    for name in names:
        began = time.perf_counter()
        try: run(NBS / f"{Path(name).stem}.ipynb")
        except CellExecutionError as error:
            print(f"{name} failed and stays as it was: {error}", file=sys.stderr)
            failed += 1
        else: print(f"{name}: {time.perf_counter() - began:.0f} s", flush=True)
    return failed


if __name__ == "__main__": sys.exit(main())
