# ruff: noqa: RUF001
import pytest

from rewards.answers.reading.languages import LANGUAGES
from rewards.answers.reading.statements import marked

EXAMPLES = {
    "English": [
        "The answer is 42.",
        "**Final Answer**: 42",
        "The correct option is 42.",
        "The answer to the question is 42.",
    ],
    "Chinese": ["所以答案是42。", "答案：42", "答案应该是 42。", "所以答案就是42。", "答案等于42"],
    "Japanese": ["したがって、答えは42です。", "答え：42", "正解は、42になります。"],
    "Korean": ["정답은 42입니다.", "답: 42", "따라서 답은 42이다."],
    "Spanish": ["La respuesta es 42.", "Respuesta final: 42"],
    "Portuguese": ["A resposta é 42.", "Resposta: 42"],
    "French": ["La réponse est 42.", "Réponse : 42", "La re\u0301ponse finale est 42."],
    "Italian": ["La risposta è 42.", "Risposta corretta: 42"],
    "German": ["Die Antwort ist 42.", "Die Antwort lautet 42.", "ANTWORT: 42"],
    "Dutch": ["Het antwoord is 42.", "Antwoord: 42"],
    "Polish": ["Odpowiedź to 42.", "Odpowiedź: 42"],
    "Russian": ["Ответ: 42", "Ответ — 42.", "Ответ равен 42."],
    "Ukrainian": ["Відповідь: 42", "Відповідь — 42."],
    "Turkish": ["Cevap: 42", "Yanıt: 42"],
    "Vietnamese": ["Đáp án là 42.", "Câu trả lời là 42."],
    "Indonesian": ["Jawabannya adalah 42.", "Jawaban: 42"],
    "Arabic": ["الجواب هو 42.", "الإجابة: 42"],
    "Hindi": ["उत्तर है 42।", "उत्तर: 42 है।"],
    "Swedish": ["Svaret är 42.", "Svar: 42", "Svaret er 42."],
    "Finnish": ["Vastaus on 42.", "Vastaus: 42"],
    "Hungarian": ["Válasz: 42"],
    "Czech": ["Odpověď: 42", "Odpověď je 42."],
    "Romanian": ["Răspunsul este 42.", "Răspuns: 42"],
    "Greek": ["Η απάντηση είναι 42.", "Απάντηση: 42"],
}


def test_every_language_has_an_example() -> None:
    assert set(EXAMPLES) == set(LANGUAGES)


@pytest.mark.parametrize("text", [text for texts in EXAMPLES.values() for text in texts])
def test_the_answer_is_read(text: str) -> None:
    assert marked(text).answer == "42"
    assert marked(f"7 + 35 = 42, so 6 x 7.\n\n{text}\n\nConfidence: 95%").answer == "42"


@pytest.mark.parametrize(
    "text",
    [
        "Antwort: 42, weil 6 * 7 = 42.",
        "La réponse est donc 42, car c'est 6 * 7.",
        "La respuesta es 42 porque sí.",
        "Die Antwort ist 42. Ich hoffe, die Antwort ist hilfreich.",
        "La respuesta es 42. Espero que la respuesta es útil.",
        "答案是42。希望这个答案是有帮助的。",
        "答案是42。如果答案是7，请告诉我。",
        "Ответ: 42. Если ответ — 7, скажите.",
    ],
)
def test_a_hope_or_a_condition_is_no_answer(text: str) -> None:
    assert marked(text).answer == "42"


@pytest.mark.parametrize(
    "text", ["Die Antwort ist nicht 42.", "答えは42ではありません。", "답은 42가 아닙니다."]
)
def test_what_is_denied_is_no_answer(text: str) -> None:
    assert marked(text).answer is None


@pytest.mark.parametrize(
    "text",
    [
        "Answers vary.",
        "He answered 42.",
        "An answerable 42",
        "Convert the answer to weeks: 42",
        "Beantwortung: 42",
    ],
)
def test_words_like_it_mark_nothing(text: str) -> None:
    assert not marked(text).found
