"""Nothing of one session or principal reaches another, whatever runs at the same time."""

import json
import os
import threading
import unittest

from e2e_case import DaemonCase, Refused

CANARIES = {"ada": "xylophone-7731", "bo": "quicksilver-4482"}
KEYS = {"ada": "sk-ada-0123456789abcdef", "bo": "sk-bo-fedcba9876543210"}


class Isolation(DaemonCase):
    def setUp(self):
        super().setUp()
        keys = os.path.join(self.folder, "keys")
        with open(keys, "w") as file:
            file.write("".join(f"{name} {key}\n" for name, key in KEYS.items()) + "ops sk-ops-5555555555 admin\n")
        os.chmod(keys, 0o600)
        self.target = self.started(server__api_keys_file=keys)

    def headers(self, name):
        return {"Authorization": "Bearer " + KEYS[name]}

    def test_another_principal_finds_nothing(self):
        session = self.target.new_session(headers=self.headers("ada"))
        self.target.append(session, [{"role": "user", "content": "hello"}], headers=self.headers("ada"))
        path = "/v1/sessions/" + session
        for method, route, body in (("GET", path, None), ("GET", path + "?turns=1", None), ("GET", path + "/memory", None),
                                    ("POST", path + "/messages", {"messages": [{"role": "user", "content": "x"}]}),
                                    ("POST", path + "/import", '{"role":"user","content":"x"}'), ("DELETE", path, None)):
            headers = dict(self.headers("bo"))
            if route.endswith("/import"):
                headers["Content-Type"] = "application/x-ndjson"
            mine = self.target.request(method, route, body, headers=headers)
            unknown = self.target.request(method, route.replace(session, "s_00000000000000000000000000"), body,
                                          headers=headers)
            self.assertEqual(mine[0], 404, (method, route))
            self.assertEqual(mine[1]["error"]["code"], unknown[1]["error"]["code"])
        with self.assertRaises(Refused) as caught:
            self.target.ask(session, "hello?", headers=self.headers("bo"))
        self.assertEqual(caught.exception.status, 404)
        self.assertEqual(self.target.call("GET", "/v1/sessions", headers=self.headers("bo"))["data"], [])
        self.assertEqual(len(self.target.turns(session, headers=self.headers("ada"))), 1)
        self.assertEqual(self.target.request("GET", "/v1/sessions")[0], 401)
        self.assertEqual(self.target.request("POST", "/v1/admin/verify", {}, headers=self.headers("ada"))[0], 403)

    def test_canaries_under_concurrency(self):
        """Two principals with two sessions each write, ask and read at once; each finds its own words only."""
        seen, failures = {name: [] for name in KEYS}, []

        def live(name, number):
            try:
                headers, secret = self.headers(name), CANARIES[name]
                session = self.target.new_session(headers=headers)
                for i in range(6):
                    text = f"The password number {number}.{i} of this house is {secret}."
                    self.target.append(session, [{"role": "user", "content": text}], headers=headers)
                    answer = self.target.ask(session, "What is the password of this house?", max_tokens=12,
                                             remember=True, headers=headers)
                    seen[name].append(answer["text"])
                    self.assertEqual(answer["recall"]["session"], session)
                seen[name].append(json.dumps(self.target.turns(session, headers=headers)))
                seen[name].append(json.dumps(self.target.call("GET", "/v1/sessions", headers=headers)))
            except BaseException as failure:
                failures.append(failure)

        threads = [threading.Thread(target=live, args=(name, n)) for name in KEYS for n in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(240)
        self.assertEqual(failures, [])
        for name, other in (("ada", "bo"), ("bo", "ada")):
            text = "\n".join(seen[name])
            for part in CANARIES[other].split("-"):
                self.assertNotIn(part, text, f"{name} was told of {other}")
        own = sum(CANARIES[name].split("-")[0] in "\n".join(seen[name][:-2]) for name in KEYS)
        self.assertGreater(own, 0, "no answer had even its own canary: the test shows nothing")

    def test_deleting_leaves_no_byte_behind(self):
        headers = self.headers("ada")
        session = self.target.new_session(headers=headers)
        self.target.append(session, [{"role": "user", "content": "The word is zanzibarquartz."}], headers=headers)
        self.target.wait_read(session, headers=headers)
        self.target.call("DELETE", "/v1/sessions/" + session, headers=headers)
        self.assertEqual(self.target.stop(), 0)
        for name in os.listdir(self.target.data_dir):
            path = os.path.join(self.target.data_dir, name)
            if os.path.isfile(path):
                with open(path, "rb") as file:
                    data = file.read()
                self.assertNotIn(b"zanzibarquartz", data, name)
                self.assertNotIn(session.encode(), data, name)


if __name__ == "__main__":
    unittest.main()
