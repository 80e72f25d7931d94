"""The steps of scripts/demo, once recalld is built."""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from recalld_process import BUILD, MODEL, ROOT, Gone, Recalld, Refused

SAMPLE = os.path.join(ROOT, "data/sample_conversation.ndjson")
QUESTIONS = os.path.join(ROOT, "data/sample_questions.json")
RECALLCTL = os.path.join(BUILD, "app/recallctl/recallctl")


def step(text):
    print(f"\n\033[1m==> {text}\033[0m" if sys.stdout.isatty() else f"\n==> {text}", flush=True)


def size(count):
    return f"{count / 1048576:.1f} MiB" if count >= 1048576 else f"{count / 1024:.1f} KiB"


def milliseconds(value):
    return f"{value / 1000:,.2f} s" if value >= 1000 else f"{value:,.0f} ms"


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/demo")
    parser.add_argument("file", nargs="?", default=SAMPLE)
    parser.add_argument("--question")
    parser.add_argument("--max-tokens", type=int, default=32)
    given = parser.parse_args()
    given.file = os.path.abspath(given.file)
    if not os.path.isfile(given.file):
        parser.error(f"there is no file {given.file}")
    if given.question is None and given.file != SAMPLE:
        given.question = "What did they talk about last?"
    if given.question is None:
        with open(QUESTIONS) as file:
            given.question = json.load(file)[0]["question"]
    return given


def kill_while_reading(daemon, session, importer):
    """Waits until about half is read, kills, and starts again. Returns tokens read before, and found after."""
    while importer.poll() is None:
        memory = daemon.memory(session)
        if memory["tokens_total"] and memory["tokens_ready"] * 2 >= memory["tokens_total"]:
            break
        time.sleep(0.05)
    before = daemon.memory(session)["tokens_ready"]
    daemon.kill()
    daemon.start()
    return before, daemon.memory(session)["tokens_ready"]


def start_import(daemon, path):
    """Stores the conversation; returns the session and a recallctl that shows how it is read."""
    stored = subprocess.run([RECALLCTL, "--server", daemon.address, "--json", "import", "--no-wait", path],
                            stdout=subprocess.PIPE, text=True)
    if stored.returncode != 0:
        raise Gone(f"recallctl import ended with code {stored.returncode}")
    session = json.loads(stored.stdout)["session"]
    return session, subprocess.Popen([RECALLCTL, "--server", daemon.address, "memory", "--wait", session])


def plain_text(turns):
    """The transcript as one text: what a program without a memory would send."""
    lines, day = ["A conversation:"], None
    for turn in turns:
        if turn["time"] and turn["time"][:10] != day:
            day = turn["time"][:10]
            lines.append(f"\n[{day}]")
        lines.append(f"{turn['speaker'] or turn['role']}: {turn['content']}")
    return "\n".join(lines)


def read_all_again(daemon, session, question, max_tokens):
    """A stateless request with the whole history in it. None when it does not fit the window."""
    text = plain_text(daemon.turns(session)) + f"\n\nQuestion: {question}\nAnswer:"
    try:
        return daemon.ask(None, text, max_tokens=max_tokens)
    except Refused as refusal:
        if refusal.code == "context_length_exceeded":
            return None
        raise


def show_answer(answer):
    print(f"    {answer['text'].strip()}")
    recall = answer["recall"]
    print(f"    {recall['tokens_reused']:,} tokens reused, {recall['tokens_read']:,} read; "
          f"{milliseconds(recall['first_token_ms'])} to the first token")


def main():
    given = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = tempfile.mkdtemp(prefix="recalld-demo-")
    daemon = Recalld(os.path.join(folder, "data"))
    try:
        run(given, daemon)
        return 0
    except (Gone, Refused, subprocess.CalledProcessError, TimeoutError) as failure:
        print(f"\nerror: {failure}\n{daemon.log_tail()}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        daemon.kill()
        shutil.rmtree(folder, ignore_errors=True)


def run(given, daemon):
    step(f"Starting recalld with {os.path.basename(MODEL)}")
    daemon.start()
    print(f"    ready after {milliseconds(daemon.started_in * 1000)} at {daemon.address}")

    step(f"Importing {os.path.relpath(given.file)}; kill -9 follows in the middle of reading")
    begun = time.monotonic()
    session, importer = start_import(daemon, given.file)
    try:
        before, kept = kill_while_reading(daemon, session, importer)
        if importer.wait() != 0:
            raise Gone("recallctl import failed")
    finally:
        if importer.poll() is None:
            importer.kill()
            importer.wait()
    memory = daemon.wait_read(session)
    reading_seconds = time.monotonic() - begun
    print(f"    killed after {before:,} of {memory['tokens_total']:,} tokens; {kept:,} were in memory again at once, "
          "the rest was read on")

    step(f"Asking: {given.question}")
    asked = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    first = daemon.ask(session, given.question, given.max_tokens, time_said=asked)
    show_answer(first)

    step("kill -9, start again, the same question")
    daemon.restart()
    print(f"    ready after {milliseconds(daemon.started_in * 1000)}")
    second = daemon.ask(session, given.question, given.max_tokens, time_said=asked)
    show_answer(second)

    step("For comparison: the whole history again, as a request without a memory has to")
    again = read_all_again(daemon, session, given.question, given.max_tokens)
    if again is None:
        print("    it does not fit the model's window at once")
    else:
        show_answer(again)
    summary(given, memory, first, second, again, reading_seconds)


def summary(given, memory, first, second, again, reading_seconds):
    step("Summary")
    same = "the same, letter for letter" if first["text"] == second["text"] else "NOT the same"
    reused, read = second["recall"]["tokens_reused"], second["recall"]["tokens_read"]
    after = second["recall"]["first_token_ms"]
    rows = [("question", given.question), ("answer", second["text"].strip()),
            ("before and after kill -9", same),
            ("history", f"{memory['turns']:,} messages, {memory['tokens_total']:,} tokens"),
            ("after kill -9", f"{reused:,} tokens reused, {read:,} read"),
            ("memory on disk", f"{size(memory['bytes_disk'])} ({memory['codec']}); in 16 bits "
             f"{size(memory['bytes_f16'])}, {memory['bytes_f16'] / max(memory['bytes_disk'], 1):.1f} times as much"),
            ("first token before kill -9", milliseconds(first["recall"]["first_token_ms"])),
            ("first token after kill -9", milliseconds(after))]
    if again is not None:
        whole = again["recall"]["first_token_ms"]
        rows.append(("first token, reading all again", f"{milliseconds(whole)}, {whole / after:.0f} times as long"))
    else:
        rows.append(("reading all of it took", milliseconds(reading_seconds * 1000)))
    for name, value in rows:
        print(f"    {name:32}{value}")


if __name__ == "__main__":
    sys.exit(main())
