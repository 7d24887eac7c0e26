"""The rules of the house: one stem names everything about an op, and stages keep apart.

An op `glu` is ee_ref/ops/glu.py with its line, which is once more with its call in
kernels/conformance/ops.inc, kernels/src/ops/glu/ee_glu_f32_c.c, its prototype in ee_kernels.h and
ee_ref/conformance/cases/glu.py. Its twin of int8 mode is `glu_exact` in Python and ee_glu_exact_c
in the same folder. A missing one fails here by name; kernels/README.md lists the other files that a
new op touches.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from ee_ref import ops
from ee_ref.conformance.cases import cases_of, op_names
from ee_ref.families import SCALE_SUFFIX, Kind
from ee_ref.families.conformer import LAYER
from ee_ref.ops._lines import lines, text_of
from ee_ref.ops._names import stem_and_mode
from tests.faults import FAULTS
from tests.support import GOLDEN

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("ee_ref", "weights_io")
KERNELS = ROOT / "kernels" / "src" / "ops"
HEADERS = (ROOT / "kernels" / "include").glob("ee_kernels*.h")
HEADER = "".join(path.read_text() for path in sorted(HEADERS))

ISAS = re.findall(r"^EE_ISA\(\w+, (\w+),", (ROOT / "kernels/include/ee_isas.inc").read_text(), re.M)
DTYPES = ("f32", "qs8")
MODES = (*DTYPES, "exact")
KERNEL = re.compile(rf"ee_(?P<op>\w+)_(?P<mode>{'|'.join(MODES)})_(?P<isa>{'|'.join(ISAS)})")
LOOSEST = 1e-5

OPS = sorted((*op_names(), *op_names("qs8")))
"""The ops with cases, of both dtypes."""


def modules(package: str) -> set[str]:
    """Names of the public modules of a folder."""
    return {path.stem for path in (ROOT / package).glob("*.py") if path.stem[0] != "_"}


def prototypes() -> set[str]:
    """Names of the kernels that the headers declare."""
    code = re.sub(r"/\*.*?\*/", "", HEADER, flags=re.DOTALL)
    return {match[0] for match in re.finditer(rf"\b{KERNEL.pattern}\b", code)}


def op_of(kernel: str) -> str:
    """The op in Python of a kernel: ee_glu_f32_avx2 -> glu, ee_glu_exact_c -> glu_exact."""
    match = KERNEL.fullmatch(kernel)
    return match["op"] if match["mode"] == "f32" else f"{match['op']}_{match['mode']}"


def portable(op: str) -> str:
    """The portable kernel of an op: glu -> ee_glu_f32_c, glu_exact -> ee_glu_exact_c."""
    return f"ee_{op}_f32_c" if stem_and_mode(op)[1] == "f32" else f"ee_{op}_c"


def kernel_files() -> dict[str, Path]:
    """Kernel -> the file of its name."""
    return {path.stem: path for path in KERNELS.glob("*/*.c")}


# ---- One stem, one op ----


@pytest.mark.parametrize("place, found", [
    ("a case table in ee_ref/conformance/cases", set(OPS)),
    ("a prototype ee_OP_MODE_c in kernels/include",
     {op_of(name) for name in prototypes() if KERNEL.fullmatch(name)["isa"] == "c"}),
    ("a portable kernel kernels/src/ops/OP/ee_OP_MODE_c",
     {op_of(name) for name, path in kernel_files().items()
      if name in (f"ee_{path.parent.name}_{mode}_c" for mode in MODES)}),
], ids=["cases", "prototypes", "kernels"])
def test_every_op_is_everywhere(place, found):
    expected = modules("ee_ref/ops")
    assert not expected - found, f"ops without {place}: {sorted(expected - found)}"
    assert not found - expected, f"not in ee_ref/ops, but with {place}: {sorted(found - expected)}"


def test_every_folder_of_kernels_is_of_an_op():
    folders = {path.name for path in KERNELS.iterdir() if path.is_dir()}
    assert folders == {stem_and_mode(op)[0] for op in modules("ee_ref/ops")}


def test_every_op_is_a_function_of_its_module():
    assert set(ops.__all__) == modules("ee_ref/ops")
    for op in ops.__all__:
        module = importlib.import_module(f"ee_ref.ops.{op}")
        assert getattr(ops, op) is getattr(module, op)
        assert inspect.isfunction(getattr(ops, op)) and getattr(ops, op).__doc__, op


def test_every_kernel_is_a_file_and_a_prototype():
    files, declared = kernel_files(), prototypes()
    assert not declared - set(files), f"prototypes without a file: {sorted(declared - set(files))}"
    assert not set(files) - declared, f"files without a prototype: {sorted(set(files) - declared)}"
    for name, path in files.items():
        match = KERNEL.fullmatch(name)
        assert match, f"{path}: expected ee_OP_MODE_ISA.c, of {MODES} and {ISAS}"
        assert match["op"] == path.parent.name, f"{path}: in the folder of another op"
        assert re.search(rf"\b{name}\s*\(", path.read_text()), f"{path}: does not define {name}"


def test_every_instruction_set_is_in_the_documents():
    text = (ROOT / "kernels" / "README.md").read_text()
    (row,) = re.findall(r"^\| isa \| (.*) \|$", text, re.MULTILINE)
    assert " ".join(re.findall("`([^`/]+)`", row)).split() == ISAS
    assert {*re.findall(r"^\| `(\w+)` \| ", text, re.MULTILINE)} >= {*ISAS} - {"c"}


def test_every_variant_is_in_the_table_of_its_instruction_set():
    """Once: a set takes the rest from the set before it."""
    text = (ROOT / "kernels" / "src" / "runtime" / "ee_ops.c").read_text().replace("\\\n", " ")
    own = {(match[1].lower(), match[2].lower()): match[3] for match in
           re.finditer(r"#define (F32|QS8)_(\w+) (.*)", text)}
    assert {isa for _, isa in own} == set(ISAS)
    for name in kernel_files():
        match = KERNEL.fullmatch(name)
        if match["isa"] != "c":
            entry = rf"\.{match['op']} = {name}\b"
            table = own[stem_and_mode(op_of(name))[1], match["isa"]]
            assert len(re.findall(entry, table)) == 1, name


@pytest.mark.parametrize("op", sorted(modules("ee_ref/ops")))
def test_adapters_have_the_signature_of_their_op(op, native_library):
    adapter = getattr(importlib.import_module("ee_ref.native"), op)
    assert inspect.signature(adapter) == inspect.signature(getattr(ops, op)), op


@pytest.mark.parametrize("op", sorted(modules("ee_ref/ops")))
def test_lines_have_the_parameters_of_their_op(op):
    """In its order, the same are optional, and cases keep to it."""
    line, parameters = lines()[op], inspect.signature(getattr(ops, op)).parameters
    assert [argument.name for argument in line.inputs] == list(parameters)
    optional = {name for name, parameter in parameters.items() if parameter.default is None}
    assert {argument.name for argument in line.inputs if argument.is_optional} == optional
    for case in cases_of(op):
        for argument in line.inputs:
            value = case.arguments().get(argument.name)
            if argument.shape is not None and value is not None:
                assert value.dtype == (np.int8 if argument.is_int8 else np.float32)
                assert value.ndim == len(argument.shape) or "softmax" in op


@pytest.mark.parametrize("op", sorted(modules("ee_ref/ops")))
def test_lines_fit_the_prototypes(op, native_library):
    """Pointers of outputs, then of inputs, then sizes, as C declares them."""
    library = importlib.import_module("ee_ref.native._lib")
    function = library.ffi.typeof(getattr(library.lib, portable(op)))
    arrays = [argument for argument in (*lines()[op].outputs, *lines()[op].inputs)
              if argument.shape is not None]
    if "weights" in [argument.name for argument in lines()[op].inputs]:
        arrays = arrays[:2]  # the rest is a struct
    assert [argument.item.cname for argument in function.args[:len(arrays)]] == [
        "int8_t" if array.is_int8 else "float" for array in arrays]
    assert all(argument.kind == "primitive" for argument in function.args[len(arrays):]
               if argument.kind != "pointer")


def layer_tensors(dtype: str) -> str:
    """The tensors of a layer (ee_ref/families/conformer.py) as a line spells them."""
    found = []
    for name, shape, kind in LAYER:
        shape = shape.replace("F", "H")
        if dtype == "qs8" and kind is Kind.MATRIX:
            found += [f"{name} ({shape}) int8", f"{name}{SCALE_SUFFIX} ({shape.split()[0]})"]
        else:
            found.append(f"{name} ({shape})")
    return ", ".join(found)


def test_the_port_in_c_has_the_line_of_every_op():
    text = (ROOT / "kernels" / "conformance" / "ops.inc").read_text().replace("\\\n", "")
    for dtype in DTYPES:
        layer = re.search(rf"#define LAYER_{dtype.upper()}\s+((?:\"[^\"]*\"\s*)+)", text)
        text = text.replace(f" LAYER_{dtype.upper()} ", layer[1])
        assert "".join(re.findall(r'"([^"]*)"', layer[1])) == layer_tensors(dtype)
    sent = dict(re.findall(r'#define (VIEW|PAST) "(.*)"', text))
    for name, words in sent.items():
        text = text.replace(f'" {name} "', words)
    found = {match[1]: "".join(re.findall(r'"([^"]*)"', match[2]))
             for match in re.finditer(r'OP\((\w+),((?:\s*"[^"]*"\s*)+),', text)}
    assert sent["PAST"] in sys.modules["ee_ref.ops._lines"].__doc__
    assert found == {
        op: text_of(op).replace("weights", layer_tensors("qs8" if "_qs8" in op else "f32"))
        .replace("view, past?", ", ".join(sent.values())) for op in modules("ee_ref/ops")}


@pytest.mark.parametrize("op", sorted(modules("ee_ref/ops")))
def test_native_library_has_every_portable_kernel(op, native_library):
    library = importlib.import_module("ee_ref.native._lib").lib
    assert hasattr(library, portable(op)), f"the C library has no {portable(op)}"


# ---- Cases and goldens ----


@pytest.mark.parametrize("op", OPS)
def test_cases_have_names_tolerances_and_reasons(op):
    cases = cases_of(op)
    names = [case.name for case in cases]
    assert len(set(names)) == len(names), f"{op}: two cases of one name"
    for case in cases:
        assert 0 <= case.tolerance <= LOOSEST, f"{op}/{case.name}: looser than {LOOSEST}"
        assert case.reason, f"{op}/{case.name}: a tolerance without its reason"
        parameters = inspect.signature(getattr(ops, op)).parameters
        assert not set(case.arguments()) - set(parameters), f"{op}/{case.name}: other parameters"
        if stem_and_mode(op)[1] == "qs8":
            assert case.tolerance == 0, f"{op}/{case.name}: int8 mode is exact"


def test_every_case_has_a_golden_and_every_golden_a_case(ops_golden):
    cases = {f"{op}/{case.name}/{number}" for op in op_names() for case in cases_of(op)
             for number in range(len(lines()[op].outputs))}
    again = "run python -m tests.golden.make"
    assert not cases - set(ops_golden), f"no golden for {sorted(cases - set(ops_golden))}; {again}"
    assert not set(ops_golden) - cases, f"no case for {sorted(set(ops_golden) - cases)}; {again}"

    with np.load(GOLDEN / "int8.npz") as arrays:
        frozen = {name.rpartition("/")[0] for name in arrays
                  if not name.startswith(("small/", "splitformer/", "zipformer/",
                                          "conformer-lstm/", "wav2vec2/", "full/"))}
    cases = {f"{op}/{case.name}" for op in op_names("qs8")
             for case in cases_of(op)}
    assert cases == frozen, f"{sorted(cases ^ frozen)}: {again}"


def test_goldens_stay_small():
    assert sum(path.stat().st_size for path in GOLDEN.glob("*.npz")) < 5_000_000


# ---- Who imports whom ----

STAGES = ("audio", "frontend", "encoder", "exits", "decode", "tokens")
"""The stages an utterance goes through; model.py joins them."""

ALLOWED_BETWEEN_STAGES = {("exits", "decode")}  # one exit score is defined on hypotheses

HEAVY = {"torch", "torchaudio", "tensorflow", "jax", "onnx", "onnxruntime", "transformers",
         "librosa", "pytest", "hypothesis"}
"""What the installed packages never import."""

LAZY = {"scipy", "soundfile", "sounddevice", "gguf", "safetensors", "sentencepiece", "matplotlib",
        "hassil", "yaml", "wyoming", "distributed"}
"""What they import only inside the function that needs it."""


def sources() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def dotted(path: Path) -> str:
    """Name of the module in a file, `ee_ref.ops.glu`; of a package, its `__init__` included."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def imports(path: Path, whole: bool = True) -> set[str]:
    """Absolute names of what a module imports: anywhere, or only when it is itself imported."""
    tree = ast.parse(path.read_text())
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not whole:
            return
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = dotted(path).split(".")[: -node.level] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found.update({module, *(f"{module}.{alias.name}" for alias in node.names)})
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(tree)
    return found


def imports_module(imported: set[str], module: str) -> bool:
    """Whether one of these names is `module` or inside it."""
    return any(name == module or name.startswith(f"{module}.") for name in imported)


@pytest.mark.parametrize("stage", STAGES)
def test_stages_do_not_import_each_other(stage):
    files = [path for path in sources() if imports_module({dotted(path)}, f"ee_ref.{stage}")]
    assert files, f"no stage ee_ref/{stage}.py or ee_ref/{stage}/"
    for path in files:
        imported = imports(path)
        for other in (*STAGES, "model"):
            if other == stage or (stage, other) in ALLOWED_BETWEEN_STAGES:
                continue
            assert not imports_module(imported, f"ee_ref.{other}"), (
                f"{path.relative_to(ROOT)} imports ee_ref.{other}; model.py joins the stages"
            )


def test_only_lib_imports_the_cffi_module():
    users = [dotted(path) for path in sources()
             if imports_module(imports(path), "ee_ref.native._kernels")]
    assert users == ["ee_ref.native._lib"]


def test_ops_import_numpy_and_each_other_only():
    for path in (ROOT / "ee_ref" / "ops").glob("*.py"):
        for name in imports(path):
            assert name.partition(".")[0] in sys.stdlib_module_names | {"numpy"} or (
                name.startswith("ee_ref.ops")
            ), f"{path.name} imports {name}"


@pytest.mark.parametrize("path", sources(), ids=dotted)
def test_installed_modules_import_little(path):
    everywhere = {name.partition(".")[0] for name in imports(path)}
    assert not everywhere & HEAVY, f"{dotted(path)} imports {sorted(everywhere & HEAVY)}"
    at_once = {name.partition(".")[0] for name in imports(path, whole=False)}
    assert not at_once & LAZY, f"{dotted(path)} imports {sorted(at_once & LAZY)} when imported"
    known = sys.stdlib_module_names | {"numpy", *PACKAGES} | LAZY
    foreign = everywhere - known
    assert not foreign, f"{dotted(path)} imports {sorted(foreign)}: a new dependency?"


def code_of(path):
    """The lines of code of a file, without indentation and comments."""
    lines = (line.partition("  #")[0].strip() for line in path.read_text().splitlines())
    return [line for line in lines if line]


def test_every_python_snippet_of_the_documents_is_type_checked():
    """`.ci/types` checks the program; here each line of a snippet has to be one of its lines."""
    program = set(code_of(ROOT / "tests" / "typing" / "user_program.py"))
    snippets = 0
    for page in sorted([*ROOT.glob("*.md"), *ROOT.glob("*/*.md"), *ROOT.glob("*/*/*.md")]):
        for block in re.findall(r"(?ms)^```python\n(.*?)^```", page.read_text()):
            snippets += 1
            for line in block.splitlines():
                code = line.partition("  #")[0].strip()
                assert not code or code in program, f"{page.name}: {code}"
    assert snippets


# ---- What documents and comments name ----

NAMED = re.compile(
    r"(?<![\w./<-])((?:ee_ref|weights_io|kernels|tests|docs|benchmarks|training)/"
    r"[\w./-]+\.(?:py|md|c|h|rs|json|svg|npz))\b")
WRITTEN = ("*.md", "*.py", "*.c", "*.h", "*.rs")


def test_no_text_names_a_file_that_is_not_there():
    places = [*ROOT.glob("*.*"), *(path for folder in
              ("ee_ref", "weights_io", "kernels", "docs", "benchmarks", "training", "tests")
              for kind in WRITTEN for path in (ROOT / folder).rglob(kind))]
    missing = [f"{path.relative_to(ROOT)}: {name}" for path in places
               if path.suffix in (".md", ".py", ".c", ".h", ".rs")
               for name in NAMED.findall(path.read_text(encoding="utf-8"))
               if not (ROOT / name).exists()]
    assert not missing


@pytest.mark.parametrize("op", ["glu", "glu_exact", "linear_qs8"])
def test_the_list_of_the_files_of_an_op_is_right(op):
    """kernels/README.md, Adding: every path is there, for an op of either kind."""
    text = (ROOT / "kernels" / "README.md").read_text().partition("## Adding")[2]
    table = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    paths = [name for cell in table for name in re.findall(r"`([^`]*/[^`]*)`", cell)]
    assert len(paths) > 15
    for path in paths:
        if op != stem_and_mode(op)[0]:
            path = path.replace("<op>/ee_<op>_f32", f"{stem_and_mode(op)[0]}/ee_{op}")
        assert (ROOT / path.replace("<op>", op)).exists(), path


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.isa}: {fault.name}")
def test_faults_have_a_place(fault):
    """tests/test_planted_faults.py, which takes long, plants them there."""
    assert (ROOT / fault.file).read_text().count(fault.text) == 1
