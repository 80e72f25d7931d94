"""openai-python, unmodified, against a real daemon."""

import threading
import unittest

import openai
from client_case import KEY, ClientCase

MODEL = "SmolLM2-135M-Instruct.Q4_1"


class OpenAi(ClientCase):
    def client(self, session=None, key=KEY):
        headers = {"X-Recalld-Session": session} if session else {}
        client = openai.OpenAI(base_url=self.daemon.address + "/v1", api_key=key, default_headers=headers,
                               max_retries=0, timeout=120)
        self.addCleanup(client.close)
        return client

    def test_streamed_chat_of_several_turns_is_remembered(self):
        session = self.new_session()
        client = self.client(session)
        said = []
        for text in ("My dog is called Biscuit.", "What is my dog called?", "Thank you."):
            answer, finish, chunks = "", None, 0
            stream = client.chat.completions.create(
                model="default", messages=[{"role": "user", "content": text}], stream=True, max_tokens=24,
                temperature=0, stream_options={"include_usage": True})
            for chunk in stream:
                chunks += 1
                self.assertEqual(chunk.object, "chat.completion.chunk")
                for choice in chunk.choices:
                    answer += choice.delta.content or ""
                    finish = choice.finish_reason or finish
                usage = chunk.usage
            self.assertGreater(chunks, 3, "the answer came in one piece")
            self.assertIn(finish, ("stop", "length"))
            self.assertEqual(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens)
            said += [("user", text), ("assistant", answer.strip())]
            if len(said) > 2:
                self.assertGreater(usage.prompt_tokens_details.cached_tokens, 0, "nothing came from memory")
        self.assertEqual([(r, c.strip()) for r, c in self.transcript(session)], said)

    def test_session_in_metadata_and_no_stream(self):
        session = self.new_session()
        answer = self.client().chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "Say hello."}], metadata={"session": session},
            max_completion_tokens=12, temperature=0, seed=7)
        self.assertEqual(answer.choices[0].message.role, "assistant")
        self.assertTrue(answer.choices[0].message.content)
        self.assertEqual(answer.model, MODEL)
        self.assertEqual(answer.model_extra["recall"]["session"], session)
        self.assertEqual(len(self.transcript(session)), 2)

    def test_stateless(self):
        answer = self.client().chat.completions.create(
            model="default", max_tokens=8, temperature=0, stop=["\n"],
            messages=[{"role": "system", "content": "Answer briefly."},
                      {"role": "user", "content": [{"type": "text", "text": "Name a fruit."}]}])
        self.assertTrue(answer.choices[0].message.content)
        self.assertEqual(answer.usage.prompt_tokens_details.cached_tokens, 0)

    def test_same_seed_same_answer(self):
        def once():
            return self.client().chat.completions.create(
                model="default", max_tokens=16, temperature=1.2, seed=11,
                messages=[{"role": "user", "content": "Tell me something odd."}]).choices[0].message.content
        self.assertEqual(once(), once())

    def test_models(self):
        models = self.client().models.list().data
        self.assertEqual([m.id for m in models], [MODEL])
        self.assertEqual(self.client().models.retrieve(MODEL).id, MODEL)

    def test_errors_are_openais(self):
        client = self.client()
        hello = [{"role": "user", "content": "hello"}]
        create = client.chat.completions.create
        with self.assertRaises(openai.NotFoundError) as caught:
            create(model="gpt-9", messages=hello)
        self.assertEqual(caught.exception.code, "model_not_found")
        with self.assertRaises(openai.NotFoundError) as caught:
            create(model="default", messages=hello, metadata={"session": "s_00000000000000000000000000"}, stream=True)
        self.assertEqual(caught.exception.code, "session_not_found")
        with self.assertRaises(openai.BadRequestError) as caught:
            create(model="default", messages=hello, temperature=9)
        self.assertEqual(caught.exception.param, "temperature")
        with self.assertRaises(openai.BadRequestError) as caught:
            create(model="default", messages=hello, n=2)
        self.assertEqual(caught.exception.code, "unsupported")
        with self.assertRaises(openai.BadRequestError) as caught:
            create(model="default", messages=[{"role": "user", "content": "word " * 9000}])
        self.assertEqual(caught.exception.code, "context_length_exceeded")
        with self.assertRaises(openai.AuthenticationError):
            self.client(key="sk-wrong").models.list()

    def test_leaving_a_stream_frees_the_engine(self):
        stream = self.client().chat.completions.create(
            model="default", messages=[{"role": "user", "content": "Count to ten thousand."}], stream=True)
        next(iter(stream))
        stream.close()
        answer = self.client().chat.completions.create(
            model="default", messages=[{"role": "user", "content": "hi"}], max_tokens=4)
        self.assertTrue(answer.choices)

    def test_several_clients_at_once(self):
        results, failures = {}, []

        def ask(i):
            try:
                results[i] = self.client().chat.completions.create(
                    model="default", max_tokens=8, temperature=0,
                    messages=[{"role": "user", "content": f"Repeat: {i}"}]).choices[0].message.content
            except Exception as failure:
                failures.append(failure)

        threads = [threading.Thread(target=ask, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])
        self.assertEqual(len(results), 4)


if __name__ == "__main__":
    unittest.main()
