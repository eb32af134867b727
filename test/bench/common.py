"""What the benches share: one way to call psql, one clock, one form of a result."""
import operator
import os
import subprocess
import sys
import time

# A psql script names its backend by SET_BACKEND; CPU_TICKS then prints the user
# and system time that it has used, in ticks of 10 ms.
SET_BACKEND = "SELECT pg_backend_pid() AS pid \\gset\n\\setenv BACKEND :pid\n"
CPU_TICKS = "\\! awk '{print $14 + $15}' /proc/$BACKEND/stat\n"
COMPARE = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}


def psql(database, sql, user=None):
    """The output of a script, unaligned and stripped; its first error ends the program."""
    out = subprocess.run(["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", database] + (["-U", user] if user else []),
                         input=sql, text=True, capture_output=True)
    if out.returncode != 0:
        sys.exit(out.stderr)
    return out.stdout.strip()


class Session:
    """One psql that stays open, so that a statement's time is the server's."""

    def __init__(self, database, user=None):
        self.psql = subprocess.Popen(["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", database] + (["-U", user] if user else []),
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def run(self, sql):
        """The statement's output, as lines; an error ends the program."""
        self.psql.stdin.write(sql.rstrip().rstrip(";") + ";\n\\echo =done=\n")
        self.psql.stdin.flush()
        lines = []
        for line in self.psql.stdout:
            if line.strip() == "=done=":
                return lines
            lines.append(line.rstrip("\n"))
        sys.exit("psql ended: see its message above")

    def time(self, sql):
        """Seconds of wall time."""
        start = time.monotonic()
        self.run(sql)
        return time.monotonic() - start

    def cpu(self, sql):
        """Seconds of processor time that the backend used: steadier than wall time where others are at work."""
        if not hasattr(self, "stat"):
            self.stat = f"/proc/{self.run('SELECT pg_backend_pid()')[0]}/schedstat"
        def used():
            with open(self.stat) as file:
                return int(file.read().split()[0]) / 1e9
        start = used()
        self.run(sql)
        return used() - start

    def end(self):
        self.psql.stdin.close()
        self.psql.wait()


def result(what, ours, versus, other, unit, ratio, aim=None):
    """Prints one row of the table: both sides in one unit, their ratio, and the aim for it ("<= 1.05"; None: none).

    With BENCH_RESULTS set, the row is also appended to that file, tab-separated: run.sh makes its table of it.
    """
    verdict = "-"
    if aim:
        sign, bound = aim.split()
        verdict = "met" if COMPARE[sign](ratio, float(bound)) else "missed"
    fields = [what, f"{ours:.4g}", versus, f"{other:.4g}", unit, f"{ratio:.3g}", aim or "-", verdict]
    print(f"{what}: {fields[1]} {unit}; {versus}: {fields[3]} {unit}; ratio {fields[5]}"
          + (f" (aim {aim}: {verdict})" if aim else ""), flush=True)
    if "BENCH_RESULTS" in os.environ:
        with open(os.environ["BENCH_RESULTS"], "a") as file:
            print(*fields, sep="\t", file=file)
