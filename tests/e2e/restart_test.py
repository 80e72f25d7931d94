"""What a restart keeps: answers, pages, and the will to start at all."""

import os
import signal
import sqlite3
import threading
import time
import unittest

from e2e_case import DaemonCase, Gone, Recalld, sample_lines

QUESTION = "What is the name of the vet?"
ASKED = "2026-05-12T09:30:00Z"


class Restart(DaemonCase):
    def test_greedy_answer_is_the_same_after_kill_9(self):
        daemon = self.started()
        session = self.session_with(daemon, 32)
        before = daemon.ask(session, QUESTION, time_said=ASKED)
        daemon.restart()
        after = daemon.ask(session, QUESTION, time_said=ASKED)
        self.assertEqual(after["text"], before["text"])
        self.assertTrue(before["text"].strip())
        self.assertEqual(after["recall"]["tokens_reused"], before["recall"]["tokens_reused"])
        self.assertEqual(after["recall"]["tokens_read"], before["recall"]["tokens_read"], "history was read again")
        self.assertGreater(after["recall"]["tokens_reused"], 20 * after["recall"]["tokens_read"])

    def test_reading_goes_on_where_it_was(self):
        daemon = self.started()
        session = daemon.new_session()
        daemon.import_lines(session, sample_lines()[:60])
        deadline = time.monotonic() + 120
        while daemon.memory(session)["tokens_ready"] < 300 and time.monotonic() < deadline:
            time.sleep(0.02)
        read = daemon.memory(session)["tokens_ready"]
        self.assertGreaterEqual(read, 300)
        daemon.restart()
        kept = daemon.memory(session)["tokens_ready"]
        self.assertGreater(kept, 0, f"of {read} tokens read before the kill nothing is left")
        done = daemon.wait_read(session)
        self.assertEqual(done["tokens_ready"], done["tokens_total"])

    def test_reading_after_a_restart_makes_the_same_pages(self):
        def pages(name, restart):
            daemon = self.daemon(name).start()
            session = daemon.new_session()
            daemon.import_lines(session, sample_lines()[:10])
            daemon.wait_read(session)
            if restart:
                daemon.restart()
            daemon.import_lines(session, sample_lines()[10:24])
            daemon.wait_read(session)
            self.assertEqual(daemon.stop(), 0)
            return self.kv(daemon).execute(
                "SELECT idx, kind, token_first, n_tokens, checksum FROM chunks ORDER BY idx").fetchall()

        straight, restarted = pages("straight", False), pages("restarted", True)
        self.assertGreater(len(straight), 8)
        self.assertEqual(restarted, straight)

    def test_a_flipped_bit_in_a_page_is_found_counted_and_healed(self):
        daemon = self.started()
        session = self.session_with(daemon, 24)
        before = daemon.ask(session, QUESTION, time_said=ASKED)
        daemon.stop()
        database = self.kv(daemon)
        table, column = self.payload_column(database)
        row, payload = database.execute(
            f"SELECT rowid, {column} FROM {table} ORDER BY length({column}) DESC LIMIT 1").fetchone()
        damaged = bytearray(payload)
        damaged[len(damaged) // 2] ^= 0x10
        database.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (bytes(damaged), row))
        database.commit()
        database.close()
        daemon.start()
        verified = daemon.call("POST", "/v1/admin/verify", {})
        healed = daemon.ask(session, QUESTION, time_said=ASKED)
        memory = daemon.wait_read(session)
        self.assertGreater(memory["pages_dropped"], 0, memory)
        self.assertEqual(daemon.ask(session, QUESTION, time_said=ASKED)["text"], before["text"])
        self.assertTrue(healed["text"].strip())
        self.assertTrue(verified["ok"] or "kv.db" in str(verified))
        self.assert_alive(daemon)

    def payload_column(self, database):
        """The table and column that hold the pages: the blob column with the most bytes."""
        best = (0, "", "")
        for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for column in database.execute(f"PRAGMA table_info('{table}')").fetchall():
                size = database.execute(f"SELECT max(length({column[1]})) FROM '{table}' "
                                        f"WHERE typeof({column[1]}) = 'blob'").fetchone()[0] or 0
                best = max(best, (size, table, column[1]))
        self.assertGreater(best[0], 1000, "kv.db holds no pages")
        return best[1], best[2]

    def test_kv_db_deleted_costs_time_not_answers(self):
        daemon = self.started()
        session = self.session_with(daemon, 16)
        before = daemon.ask(session, QUESTION, time_said=ASKED)["text"]
        daemon.kill()
        for suffix in ("", "-wal", "-shm"):
            path = os.path.join(daemon.data_dir, "kv.db" + suffix)
            if os.path.exists(path):
                os.remove(path)
        daemon.start()
        daemon.wait_read(session)
        self.assertEqual(daemon.ask(session, QUESTION, time_said=ASKED)["text"], before)

    def test_newer_schema_is_refused(self):
        daemon = self.started()
        daemon.stop()
        path = os.path.join(daemon.data_dir, "memory.db")
        with sqlite3.connect(path) as database:
            database.execute("PRAGMA user_version = 9999")
        database.close()
        self.assert_start_fails(daemon, "memory.db", "newer", "9999")

    def test_second_daemon_on_the_same_data_is_refused(self):
        first = self.started()
        second = Recalld(first.data_dir, **{"model__threads": 1})
        second.log_path = os.path.join(self.folder, "second.log")
        self.addCleanup(second.kill)
        self.assert_start_fails(second, first.data_dir)
        self.assert_alive(first)

    def test_port_taken_is_refused(self):
        first = self.started()
        second = self.daemon("other", server__listen=f"127.0.0.1:{first.port}")
        self.assert_start_fails(second, str(first.port), "in use")
        self.assert_alive(first)

    def test_sigterm_lets_a_running_answer_finish(self):
        daemon = self.started()
        session = self.session_with(daemon, 10)
        began, result = threading.Event(), {}

        def read():
            text = ""
            for chunk in daemon.stream({"messages": [{"role": "user", "content": "Tell a long story."}],
                                        "max_tokens": 48, "temperature": 0, "remember": True,
                                        "metadata": {"session": session}}):
                text += "".join(choice["delta"].get("content") or "" for choice in chunk["choices"])
                began.set()
            result["text"] = text

        reader = threading.Thread(target=read)
        reader.start()
        self.assertTrue(began.wait(60))
        self.assertEqual(daemon.stop(), 0, daemon.log_tail())
        reader.join(10)
        self.assertTrue(result.get("text"), "the answer was cut:\n" + daemon.log_tail())
        with self.assertRaises(Gone):
            daemon.request("GET", "/health")
        daemon.start()
        self.assertEqual(daemon.turns(session)[-1]["content"], result["text"])

    def test_sighup_takes_new_keys_and_keeps_old_ones_on_an_error(self):
        keys = os.path.join(self.folder, "keys")

        def write(text):
            with open(keys, "w") as file:
                file.write(text)
            os.chmod(keys, 0o600)

        def status_of(key):
            return daemon.request("GET", "/v1/sessions", headers={"Authorization": "Bearer " + key})[0]

        def hang_up(key, wanted):
            daemon.process.send_signal(signal.SIGHUP)
            end = time.monotonic() + 10
            while status_of(key) != wanted and time.monotonic() < end:
                time.sleep(0.05)
            self.assertEqual(status_of(key), wanted, daemon.log_tail())

        write("ada sk-first-key-0001\n")
        daemon = self.started(server__api_keys_file=keys)
        self.assertEqual((status_of("sk-first-key-0001"), status_of("sk-second-key-02")), (200, 401))
        write("ada sk-first-key-0001\nbo sk-second-key-02\n")
        hang_up("sk-second-key-02", 200)
        write("ada\n")
        daemon.process.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        self.assertEqual(status_of("sk-first-key-0001"), 200, "a broken keys file must not lock everybody out")
        write("bo sk-second-key-02\n")
        hang_up("sk-first-key-0001", 401)


if __name__ == "__main__":
    unittest.main()
