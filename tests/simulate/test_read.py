"""Reading: what is taken, and what each kind of bad input is told."""

from pathlib import Path

import pytest

from nos.simulate.read import read
from nos.simulate.trace import Node, Pod, TraceError

NODES = "sn,cpu_milli,memory_mib,gpu,model\nn0,64000,262144,2,P100\n"
PODS = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos\np0,6000,12288,1,460,,LS\np1,1,0,8,1000,A|B,BE\n"


def put(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_a_trace(tmp_path: Path) -> None:
    trace = read(put(tmp_path, "n", NODES), put(tmp_path, "p", PODS), put(tmp_path, "o", "1\n0\n\n1"))
    assert trace.nodes == [Node("n0", 64000, 262144, 2, "P100")]
    assert trace.pods == [Pod("p0", 6000, 12288, 1, 460), Pod("p1", 1, 0, 8, 1000, ("A", "B"))]
    assert trace.order == [1, 0, 1]


def test_pods_arrive_in_file_order_without_an_order(tmp_path: Path) -> None:
    assert list(read(put(tmp_path, "n", NODES), put(tmp_path, "p", PODS)).order) == [0, 1]


def test_spelling_that_spreadsheets_produce(tmp_path: Path) -> None:
    nodes = b'\xef\xbb\xbfmodel,gpu,"memory_mib",cpu_milli,sn,extra\r\nP100, 2 ,1,+5,"a, ""b""\nc",x\r\n\r\n'
    pods = "gpu_milli,num_gpu,memory_mib,cpu_milli,name\r\n0,0,1,2,p\r\n"
    trace = read(put(tmp_path, "n", nodes), put(tmp_path, "p", pods))
    assert trace.nodes == [Node('a, "b"\nc', 5, 1, 2, "P100")]
    assert trace.pods == [Pod("p", 2, 1, 0, 0)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "n: is empty"),
        ("\n\n", "n: is empty"),
        ("sn,cpu_milli,memory_mib,gpu,model\n", "n:1: there is no node"),
        ("sn,cpu_milli,memory_mib,gpu\na,1,1,1\n", "n:1: column model: is missing"),
        ("sn,cpu_milli,cpu_milli,memory_mib,gpu,model\n", "n:1: column cpu_milli: is there 2 times"),
        (NODES + "n1,-1,1,1,X\n", "n:3: column cpu_milli: -1 is negative"),
        (NODES + "n1,1,1.5,1,X\n", "n:3: column memory_mib: '1.5' is not an integer"),
        (NODES + "n1,1,1,,X\n", "n:3: column gpu: is empty"),
        (NODES + "n1,1_0,1,1,X\n", "n:3: column cpu_milli: '1_0' is not an integer"),
        (NODES + "n1,\u0663,1,1,X\n", "n:3: column cpu_milli: '\u0663' is not an integer"),
        (NODES + "n1,nan,1,1,X\n", "n:3: column cpu_milli: 'nan' is not an integer"),
        (NODES + "n1,1,1,65536,X\n", "n:3: column gpu: 65536 is more than 65535"),
        (NODES + f"n1,{2**50 + 1},1,1,X\n", "n:3: column cpu_milli: 1125899906842625 is more than"),
        (NODES + f"n1,1,{2**30 + 1},1,X\n", "n:3: column memory_mib: 1073741825 is more than"),
        (NODES + f"n1,{'9' * 5000},1,1,X\n", "n:3: column cpu_milli: 999999999999999999999999999999... is absurd"),
        (NODES + "n1,1,1,1,X|Y\n", "n:3: column model: 'X|Y' has a '|'"),
        (NODES + "n0,1,1,1,X\n", "n:3: column sn: 'n0' is the name of line 2 already"),
        (NODES + ",1,1,1,X\n", "n:3: column sn: is empty"),
        (NODES + "n1,1,1,1\n", "n:3: column model: 4 cells, but the header has 5"),
        (NODES + "n1,1,1,1,X,Y\n", "n:3: column model: 6 cells, but the header has 5"),
        (NODES + '"two\nlines",1,1,1,X\nn1,x,1,1,X\n', "n:5: column cpu_milli: 'x'"),
        (NODES + '"n1,1,1,1,X\n', "n:3: unexpected end of data"),
        (NODES + '"n1"x,1,1,1,X\n', "n:3: "),
        (NODES.encode() + b"n\xff,1,1,1,X\n", "n:3: is not UTF-8 text: byte 0xff"),
        (NODES + "n\0,1,1,1,X\n", "n:3: is not text: it has a zero byte"),
    ],
)
def test_bad_nodes(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(TraceError) as caught:
        read(put(tmp_path, "n", content), put(tmp_path, "p", PODS))
    assert str(caught.value).startswith(f"{tmp_path}/{message}")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("p2,1,1,2,500,,", "p:4: column gpu_milli: 500 of each of 2 GPUs"),
        ("p2,1,1,1,0,,", "p:4: column gpu_milli: 0 of a GPU"),
        ("p2,1,1,0,500,,", "p:4: column gpu_milli: 500 of no GPU"),
        ("p2,1,1,1,1001,,", "p:4: column gpu_milli: 1001 is more than 1000"),
        ("p2,1,1,1,-5,,", "p:4: column gpu_milli: -5 is negative"),
        ("p2,1,1,1,,,", "p:4: column gpu_milli: is empty"),
        ("p2,1,1,65536,1000,,", "p:4: column num_gpu: 65536 is more than 65535"),
        ("p2,1,1,1,1000,A||B,", "p:4: column gpu_spec: 'A||B' has an empty model"),
        ("p0,1,1,1,1000,,", "p:4: column name: 'p0' is the name of line 2 already"),
        ("p2,1", "p:4: column memory_mib: 2 cells, but the header has 7"),
    ],
)
def test_bad_pods(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(TraceError) as caught:
        read(put(tmp_path, "n", NODES), put(tmp_path, "p", PODS + row + "\n"))
    assert str(caught.value).startswith(f"{tmp_path}/{message}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "o: no Pod arrives"),
        ("0\n2\n", "o:2: there is no Pod 2: the rows are 0 to 1"),
        ("0\n-1\n", "o:2: there is no Pod -1"),
        ("0\n\n1.0\n", "o:3: '1.0' is not an integer"),
        ("9" * 9999, "o:1: 999999999999999999999999999999... is absurd"),
    ],
)
def test_bad_order(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(TraceError) as caught:
        read(put(tmp_path, "n", NODES), put(tmp_path, "p", PODS), put(tmp_path, "o", content))
    assert str(caught.value).startswith(f"{tmp_path}/{message}")


def test_files_that_are_none(tmp_path: Path) -> None:
    pods = put(tmp_path, "p", PODS)
    with pytest.raises(TraceError, match="absent: No such file"):
        read(tmp_path / "absent", pods)
    with pytest.raises(TraceError, match="Is a directory"):
        read(tmp_path, pods)


def test_the_limits_themselves_are_taken_by_the_core(tmp_path: Path) -> None:
    from nos.simulate.replay import replay

    nodes = put(tmp_path, "n", NODES + f"n1,{2**50},{2**30},65535,X\n")
    pods = put(tmp_path, "p", PODS + f"p2,{2**50},{2**30},65535,1000,X,\n")
    assert [placement.node for placement in replay(read(nodes, pods, put(tmp_path, "o", "2"))).placements] == [1]
