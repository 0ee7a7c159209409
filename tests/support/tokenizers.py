"""Tiny tokenizers with the habits of well-known ones: their special tokens, templates and spaces."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)
from tokenizers.processors import TemplateProcessing
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

TEXTS = [
    "Question: Where was Ada born? Answer: Ada was born in Oslo, in the north of Norway.",
    "You are a helpful assistant. system user assistant model [INST] [/INST] <think> </think>",
]

CHATML = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful AI assistant named Smol<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA3 = (
    "{{ bos_token }}{% if not date_string is defined %}{% if strftime_now is defined %}"
    "{% set date_string = strftime_now('%d %b %Y') %}{% else %}"
    "{% set date_string = '26 Jul 2024' %}{% endif %}{% endif %}"
    "{% for message in messages %}{{ '<|start_header_id|>' + message['role'] + "
    "'<|end_header_id|>\n\n' }}{% if loop.first %}{{ 'Today Date: ' + date_string + '\n\n' }}"
    "{% endif %}{{ message['content'] | trim + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}"
    "{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant') }}{% endif %}"
    "{% set role = 'model' if message['role'] == 'assistant' else message['role'] %}"
    "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ '[INST] ' + message['content'] + ' [/INST]' }}{% elif message['role'] == 'assistant' %}"
    "{{ ' ' + message['content'] + eos_token }}{% else %}"
    "{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}"
)
QWEN3 = (
    "{% for message in messages %}{% if message['role'] == 'assistant' %}"
    "{% set said = message['content'].split('</think>')[-1] %}"
    "{{ '<|im_start|>assistant\n' }}{% if loop.last %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
    "{{ said + '<|im_end|>\n' }}{% else %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% if enable_thinking is defined and enable_thinking is false %}"
    "{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}"
)
ALPACA = (
    "{% for message in messages %}{{ '### ' + message['role'] + ':\n' + message['content'] + "
    "'\n\n' }}{% endfor %}"
)


def byte_level(*special: str, template: str | None = None, **names: str) -> PreTrainedTokenizerFast:
    """A tokenizer like those of GPT-2, Llama 3, Qwen and SmolLM2."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=list(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator(TEXTS * 9, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=inner, chat_template=template, **names)


def gpt2() -> PreTrainedTokenizerFast:
    end = "<|endoftext|>"
    return byte_level(end, bos_token=end, eos_token=end, unk_token=end)


def smollm2() -> PreTrainedTokenizerFast:
    return byte_level(
        "<|endoftext|>",
        "<|im_start|>",
        "<|im_end|>",
        template=CHATML,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        unk_token="<|endoftext|>",
    )


def qwen3() -> PreTrainedTokenizerFast:
    tokenizer = byte_level(
        "<|endoftext|>",
        "<|im_start|>",
        "<|im_end|>",
        template=QWEN3,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
    )
    tokenizer.add_tokens([AddedToken(t, special=False) for t in ("<think>", "</think>")])
    return tokenizer


def llama3() -> PreTrainedTokenizerFast:
    names = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
    tokenizer = byte_level(*names, template=LLAMA3, bos_token=names[0], eos_token=names[3])
    return _with_bos(tokenizer)


def sentencepiece(
    *special: str, template: str | None, prefix: bool, words: bool = True, **names: str
) -> PreTrainedTokenizerFast:
    """A tokenizer like those of Gemma and Llama 2, whose spaces are part of words.

    Without `words` a token may go over the border of two words.
    """
    inner = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    inner.normalizer = normalizers.Replace(" ", "\u2581")
    if prefix:
        inner.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), inner.normalizer])
    inner.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=["<unk>", *special],
        show_progress=False,
    )
    if words:
        inner.pre_tokenizer = pre_tokenizers.Split("\u2581", "merged_with_next")
    inner.train_from_iterator(TEXTS * 9, trainer)
    spec = json.loads(inner.to_str())
    vocabulary = spec["model"]["vocab"]
    spec["pre_tokenizer"] = None
    vocabulary |= {f"<0x{byte:02X}>": len(vocabulary) + byte for byte in range(256)}
    inner = Tokenizer.from_str(json.dumps(spec))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, chat_template=template, **names)
    return _with_bos(tokenizer)


def gemma() -> PreTrainedTokenizerFast:
    names = ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>")
    return sentencepiece(
        *names,
        template=GEMMA,
        prefix=False,
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<eos>",
    )


def mistral() -> PreTrainedTokenizerFast:
    return sentencepiece(
        "<s>", "</s>", template=MISTRAL, prefix=True, bos_token="<s>", eos_token="</s>"
    )


def unigram() -> PreTrainedTokenizerFast:
    """A tokenizer whose vocabulary has the control tokens as ordinary pieces, as T5's."""
    inner = Tokenizer(models.Unigram())
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    inner.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=120, special_tokens=["<unk>", "</s>"], unk_token="<unk>", show_progress=False
    )
    inner.train_from_iterator(TEXTS * 9, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="</s>", unk_token="<unk>")


def word_piece() -> PreTrainedTokenizerFast:
    """A tokenizer that folds case and accents, and lacks most characters."""
    inner = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    inner.normalizer = normalizers.BertNormalizer(lowercase=True)
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    inner.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=200, special_tokens=["[UNK]", "[SEP]"], show_progress=False
    )
    inner.train_from_iterator(TEXTS * 9, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="[SEP]", unk_token="[UNK]")


def _with_bos(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    bos = tokenizer.bos_token
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{bos} $A", special_tokens=[(bos, tokenizer.bos_token_id)]
    )
    return tokenizer


TOKENIZERS: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "gpt2": gpt2,
    "smollm2": smollm2,
    "qwen3": qwen3,
    "llama3": llama3,
    "gemma": gemma,
    "mistral": mistral,
    "unigram": unigram,
    "word_piece": word_piece,
}


def save_model(folder: Path, tokenizer: PreTrainedTokenizerFast) -> Path:
    """A folder with a tokenizer and a random Llama of its size."""
    tokenizer.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        pad_token_id=None,
    )
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder
