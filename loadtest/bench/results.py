"""Tables out of values, and the marked blocks of RESULTS.md and README.md that hold them."""

import os
import platform
import statistics
import subprocess
import time

import million_machine

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))


class Row:
    """`key` in the values; `lost` beside it, the key of how many never came in."""

    def __init__(self, key, what, unit, lost=None, has_ratio=True):
        self.key, self.what, self.unit = key, what, unit
        self.lost, self.has_ratio = lost, has_ratio


ROWS = [
    Row("handshake_us", "handshake", "µs CPU per connection", "handshake_lost"),
    Row("storm_s", "all at once", "s until all are in", "storm_lost"),
    Row("broadcast_us", "broadcast", "µs CPU per device"),
    # The floor keeps nothing but a bit per descriptor: for memory the number itself is what counts.
    Row("memory_b", "memory", "bytes per idle session, user space", has_ratio=False),
    Row("prefetch_us", "prefetch of the bundle over keep-alive", "µs CPU per request"),
    Row("silent_us", "handshake, silent sockets open", "µs CPU per connection", "silent_lost"),
    Row("silent_rate", "handshakes per second, silent sockets open", "against without", has_ratio=False),
    Row("stuck_p99", "told p99, one in ten reads nothing", "against without", has_ratio=False),
]
# What kickoffd is to reach: row, words, its figure, the most (or, negative, the least) it may be.
GOALS = [
    ("broadcast_us", "≤ 1.10 × floor", lambda of: ratio(of, "broadcast_us", "floor"), 1.10, "×"),
    ("handshake_us", "≤ 1.3 × floor", lambda of: ratio(of, "handshake_us", "floor"), 1.3, "×"),
    ("memory_b", "≤ 400 B", lambda of: middle(of, "kickoffd", "memory_b"), 400, "B"),
    ("storm_s", "none lost, ≤ 1.5 × floor", lambda of: ratio(of, "storm_s", "floor"), 1.5, "×"),
    ("silent_rate", "≥ 0.9 of that without", lambda of: middle(of, "kickoffd", "silent_rate"), -0.9, "×"),
    ("stuck_p99", "≤ 1.1 × that without", lambda of: middle(of, "kickoffd", "stuck_p99"), 1.1, "×"),
    ("prefetch_us", "≤ 0.8 × nginx", lambda of: ratio(of, "prefetch_us", "nginx"), 0.8, "×"),
]


def middle(values, name, key):
    numbers = values.get(name, {}).get(key)
    return statistics.median(numbers) if numbers else None


def ratio(values, key, to, name="kickoffd"):
    ours, theirs = middle(values, name, key), middle(values, to, key)
    return ours / theirs if ours is not None and theirs else None


def number(value, reference=None):
    """As many digits as tell something: 3, or those of the number it stands beside."""
    size = abs(value if reference is None else reference)
    return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def spread(numbers):
    mid = statistics.median(numbers)
    return f"{number(mid)} ({number(min(numbers), mid)}..{number(max(numbers), mid)})"


def cell(values, name, row):
    numbers = values.get(name, {}).get(row.key)
    if not numbers:
        return "-"
    text = spread(numbers)
    to_floor = ratio(values, row.key, "floor", name)
    if row.has_ratio and name != "floor" and to_floor is not None:
        text += f", {to_floor:.2f} ×"
    lost = max(values[name].get(row.lost, [0])) if row.lost else 0
    return text + (f", {lost:,} lost" if lost else "")


def head(words):
    return ["| " + " | ".join(words) + " |", "|" + "---|" * len(words)]


def table(values, kinds):
    kinds = [kind for kind in kinds if values.get(kind.name)]
    lines = head(["what", "unit"] + [kind.label for kind in kinds])
    for row in ROWS:
        if any(values[kind.name].get(row.key) for kind in kinds):
            lines.append(f"| {row.what} | {row.unit} | "
                         + " | ".join(cell(values, kind.name, row) for kind in kinds) + " |")
    return lines


def goals(values):
    """Our own speed table, judged by the medians."""
    lines = []
    what = {row.key: row.what for row in ROWS}
    lost = values.get("kickoffd", {})
    for key, wanted, measure, limit, unit in GOALS:
        got = measure(values)
        if got is None:
            continue
        reached = got >= -limit if limit < 0 else got <= limit
        reached = reached and not (key == "storm_s" and max(lost.get("storm_lost", [0])))
        lines.append(f"| {what[key]} | {wanted} | {number(got)} {unit} | {'reached' if reached else '**missed**'} |")
    return ["", "| kickoffd | to reach | measured | |", "|---|---|---|---|"] + lines if lines else []


def text_of(path, key):
    try:
        with open(path) as f:
            for line in f:
                if line.startswith(key):
                    return line.split("=" if "=" in line else ":", 1)[1].strip().strip('"')
    except OSError:
        pass
    return "unknown"


def circumstances(args):
    def git(*argv):
        done = subprocess.run(["git", "-C", ROOT, *argv], capture_output=True, text=True, check=False)
        return done.stdout.strip()
    changed = "+changes" if git("status", "--porcelain", "--untracked-files=no") else ""
    return {
        "cpu": text_of("/proc/cpuinfo", "model name"), "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "kernel": platform.release(), "distro": text_of("/etc/os-release", "PRETTY_NAME"),
        "commit": (git("rev-parse", "--short=12", "HEAD") or "unknown") + changed,
        "date": time.strftime("%Y-%m-%d", time.gmtime()), "load": round(os.getloadavg()[0], 1),
        "command": ("loadtest/bench/run " + " ".join(args.words)).strip(), "quick": args.quick,
        "devices": args.devices, "rounds": args.rounds, "broadcasts": args.broadcasts,
        "requests": args.requests, "connections": args.connections, "silent": args.silent,
        "body": args.body, "window": args.window,
        "queue": million_machine.sysctl("net.core.netdev_max_backlog")[0],
        "fill": args.fill, "durability": args.durability,
    }


def machine(info):
    text = (f"{info['cpu']}, {info['cores']} cores, {info['memory_gib']} GiB, {info['distro']}, kernel "
            f"{info['kernel']}; commit {info['commit']}, {info['date']}; `{info['command']}`; load average "
            f"when it began {info['load']}.")
    if info["quick"]:
        text = "**A trial with small numbers, to see that everything runs: not to be quoted.** " + text
    return text


def page(info, values, kinds, setups, skipped, failed):
    text = [machine(info), "", *table(values, kinds), *goals(values), "",
            f"Medians of {info['rounds']} rounds, the range in brackets, then the ratio to the floor's median. "
            f"{info['devices']:,} devices ({info['window']:,} on their way at a time, but for *all at once*), "
            f"{info['broadcasts']} broadcasts a round, {info['requests']:,} requests for {info['body']:,} bytes over "
            f"{info['connections']} connections, {info['silent']:,} silent sockets and "
            f"{info['devices'] - info['silent']:,} devices beside them. *Lost*: the most in one round whose connection "
            "broke or was never answered; what is told of the others is then told of those that came in."]
    text.append(f"The machine's queues for received packets (net.core.netdev_max_backlog {info['queue']:,}) dropped "
                f"{info['dropped']:,} packets.")
    blocked = middle(values, "kickoffd", "stuck_blocked")
    if blocked:
        text.append(f"One in ten: {info['fill']} broadcasts fill the sockets first; then {blocked:,.0f} of "
                    f"kickoffd's held {number(middle(values, 'kickoffd', 'stuck_unsent_b') / 1024)} KiB (median) "
                    f"that were not taken, and {middle(values, 'kickoffd', 'stuck_left'):,.0f} still did when the "
                    "others had been measured (kickoffd ends who answers no ping). p99 is from the first device told.")
    refused = max(values.get("kickoffd", {}).get("storm_refusals", [0]))
    if refused:
        text.append(f"In *all at once* kickoffd's door answered up to {refused:,} times with Retry-After; these "
                    "came again after it, and the time includes that.")
    redis = middle(values, "kickoffd", "redis_broadcast_ms")
    if redis:
        text.append(f"Beside it, the redis-server child used {redis:.2f} ms of CPU per broadcast (durability "
                    f"`{info['durability']}`), however many devices there are.")
    text += ["", "| server | version | as what |", "|---|---|---|"]
    text += [f"| {kind.label} | {version} | {kind.setup} |" for kind, version in setups]
    for words in failed:
        text.append(f"\n**Failed** in one round, whose figure is missing: {words}.")
    for label, lacks in skipped:
        text.append(f"\nNot measured: {label}, for want of {lacks}.")
    return "\n".join(text)


def short_page(info, values, kinds):
    """For README.md: the picture, and the ratios to the floor."""
    kinds = [kind for kind in kinds if values.get(kind.name) and kind.name != "floor"]
    lines = head(["against the floor"] + [kind.label for kind in kinds])
    for row in ROWS[:5]:
        cells = []
        for kind in kinds:
            told = ratio(values, row.key, "floor", kind.name) if row.has_ratio else middle(values, kind.name, row.key)
            lost = max(values[kind.name].get(row.lost, [0])) if row.lost else 0
            cells.append("-" if told is None else (f"{told:.2f} ×" if row.has_ratio else f"{number(told)} B")
                         + (f", {lost:,} lost" if lost else ""))
        lines.append(f"| {row.what}, {row.unit} | " + " | ".join(cells) + " |")
    return "\n".join([
        "![What kickoffd and its peers cost, beside the least that the system calls cost](loadtest/pictures/bench.svg)",
        "", *lines, "",
        f"{info['devices']:,} devices, medians of {info['rounds']} rounds, {info['cpu']}, {info['cores']} cores, "
        f"commit {info['commit']}, {info['date']}."
        + (" **A trial with small numbers: not to be quoted.**" if info["quick"] else "")])


def replace_block(path, name, text):
    """Puts `text` between the markers <!-- name:begin --> and <!-- name:end -->, which must be there once."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    with open(path) as f:
        whole = f.read()
    if whole.count(begin) != 1 or whole.count(end) != 1 or whole.index(begin) > whole.index(end):
        raise RuntimeError(f"{path} has not one {begin} and one {end} after it")
    before, rest = whole.split(begin)
    after = rest.split(end)[1]
    with open(path, "w") as f:
        f.write(f"{before}{begin}\n{text}\n{end}{after}")
