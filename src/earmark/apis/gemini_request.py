"""What a request to Google's generateContent may hold, and how each part is bounded.

Source of every row: Gemini API reference, "generateContent", Vertex AI's, and the types of the
`google-genai` SDK 3.6, 2026-11. `maxOutputTokens` includes thoughts. Names may be written in camel
case or with underscores; the model stands in the URL.
"""

from typing import Final

from earmark.apis.options import (
    INPUT,
    OUTPUTS,
    PROMPT,
    SCHEMA,
    TEXT,
    THINKING,
    TIER,
    CountEndpoint,
    Host,
    Option,
    RequestTable,
    fields,
    refused,
    texts,
    uncounted_input,
)

_FILE: Final = uncounted_input("a file", kept=True)
_RESOLUTION: Final = fields("level", "numTokens")
_METADATA: Final = fields("startOffset", "endOffset", "fps", "contentLayers")
_PAGES: Final = fields("startPage", "endPage", "contentLayers")
_CELLS: Final = fields("visibleCells", "sheetIndex", "contentLayers")
_OFFSETS: Final = fields("startOffset", "endOffset")
_WORD: Final = fields("word", "startOffset", "endOffset")
_MEDIA: Final = {
    **texts("mediaProcessing"),
    "inlineData": _FILE,
    "fileData": _FILE,
    "mediaResolution": _RESOLUTION,
    "videoMetadata": _METADATA,
    "documentMetadata": _PAGES,
    "spreadsheetMetadata": _CELLS,
    "audioMetadata": _OFFSETS,
}
_PART: Final = Option(
    fields={
        **_MEDIA,
        **texts("thought", "thoughtSignature", "partMetadata"),
        "text": PROMPT,
        "functionCall": fields(
            *("id", "name", "args", "willContinue"),
            partialArgs=fields(
                *("boolValue", "jsonPath", "nullValue", "numberValue", "stringValue"),
                "willContinue",
            ),
        ),
        "functionResponse": fields(
            *("id", "name", "response", "willContinue", "scheduling"),
            parts=Option(fields=_MEDIA, others=INPUT),
        ),
        "executableCode": fields("code", "language", "id"),
        "codeExecutionResult": fields("outcome", "output", "id"),
        "toolCall": fields("id", "toolType", "args"),
        "toolResponse": fields("id", "toolType", "response"),
        "audioTranscription": fields(
            *("text", "finished", "languageCode", "speakerLabel", "startOffset", "endOffset"),
            words=_WORD,
        ),
        "speechMetadata": fields("speaker", "style"),
    },
    others=INPUT,
)
_CONTENT: Final = Option(fields={"role": TEXT, "parts": _PART}, others=INPUT)

_SEARCHES: Final = refused("each of its searches is billed, and nothing limits them: leave it out")
_TOOL: Final = Option(
    fields={
        "functionDeclarations": Option(
            effect="schema",
            fields=texts(
                *("name", "description", "parameters", "parametersJsonSchema", "response"),
                *("responseJsonSchema", "behavior"),
            ),
        ),
        "googleSearch": _SEARCHES,
        "googleSearchRetrieval": _SEARCHES,
        "enterpriseWebSearch": _SEARCHES,
        "googleMaps": _SEARCHES,
        "parallelAiSearch": _SEARCHES,
        "exaAiSearch": _SEARCHES,
        # No fee apart; what they find and write is billed as input, round by round.
        "codeExecution": uncounted_input("code execution", loops=True),
        "urlContext": uncounted_input("the pages it reads", loops=True),
        "fileSearch": uncounted_input("the files it finds", loops=True),
        "retrieval": uncounted_input("what it retrieves", loops=True),
        "mcpServers": uncounted_input("MCP servers", loops=True),
        "computerUse": uncounted_input("the definition of a tool"),
    }
)
_VOICE: Final = Option(
    fields={
        **texts("voice"),
        "prebuiltVoiceConfig": fields("voiceName"),
        "replicatedVoiceConfig": uncounted_input("a voice", may_be="audio"),
    }
)
_GENERATION: Final = Option(
    fields={
        **texts(
            *("temperature", "topP", "topK", "candidateCount", "maxOutputTokens", "seed"),
            *("stopSequences", "responseLogprobs", "logprobs", "presencePenalty"),
            *("frequencyPenalty", "responseMimeType", "mediaResolution", "audioTimestamp"),
            "enableEnhancedCivicAnswers",
        ),
        "responseSchema": SCHEMA,
        "responseJsonSchema": SCHEMA,
        # Images are not bounded by `maxOutputTokens` ("Image generation").
        "responseModalities": OUTPUTS,
        "thinkingConfig": fields("includeThoughts", "thinkingLevel", thinkingBudget=THINKING),
        "speechConfig": Option(
            fields={
                "languageCode": TEXT,
                "voiceConfig": _VOICE,
                "multiSpeakerVoiceConfig": fields(
                    speakerVoiceConfigs=fields("speaker", voiceConfig=_VOICE)
                ),
            }
        ),
        "audioTranscriptionConfig": fields(
            *("languageCodes", "customVocabulary", "adaptationPhrases", "wordTimestamp"),
            *("diarization", "mode", "sourceText", "languageAuto"),
            languageHints=fields("languageCodes"),
        ),
        "imageConfig": refused("images are not bounded by maxOutputTokens: leave it out"),
        "routingConfig": refused("another model may answer, at another price: name one model"),
        "modelSelectionConfig": refused("another model may answer, at another price: name one"),
    }
)

#: Counts "the prompt as well as other model steering information like system instructions, and/or
#: function declarations", for nothing; that it counts a response schema no source says. Source:
#: Gemini API reference, "models.countTokens", and Firebase's "Count tokens", 2026-11.
_COUNT_ENDPOINT: Final = CountEndpoint(
    ending=":countTokens",
    instead_of=":generateContent",
    options=frozenset({"model", "contents", "systemInstruction", "tools", "toolConfig"}),
    wrapped_in="generateContentRequest",
    answer="totalTokens",
)

REQUEST: Final = RequestTable(
    messages="contents",
    count=_COUNT_ENDPOINT,
    output_limits=("generationConfig.maxOutputTokens",),
    choices="generationConfig.candidateCount",
    tiers=("serviceTier",),
    camel_case=True,
    text_alone='responseModalities = ["TEXT"]',
    headers={
        # Vertex: capacity of another price.
        "x-vertex-ai-llm-request-type": texts("dedicated"),
        "x-vertex-ai-llm-shared-request-type": {
            "priority": refused("it is billed at another price: leave it out"),
            "flex": refused("it is billed at another price: leave it out"),
        },
    },
    hosts={"generativelanguage.googleapis.com": Host()},
    options={
        **texts("model", "labels", "store"),
        "serviceTier": TIER,
        "contents": _CONTENT,
        "systemInstruction": _CONTENT,
        "generationConfig": _GENERATION,
        "tools": _TOOL,
        "toolConfig": fields(
            "includeServerSideToolInvocations",
            functionCallingConfig=fields(
                "mode", "allowedFunctionNames", "streamFunctionCallArguments"
            ),
            retrievalConfig=fields("languageCode", latLng=fields("latitude", "longitude")),
        ),
        "safetySettings": fields("category", "method", "threshold"),
        "modelArmorConfig": fields("promptTemplateName", "responseTemplateName"),
        "cachedContent": uncounted_input("cached content", kept=True),
        "continuationToken": uncounted_input("an earlier answer", kept=True),
        "automaticContinuation": refused("it answers again and again: leave it out"),
        "generationOutputConfig": refused("its answer comes after the call: leave it out"),
    },
)
