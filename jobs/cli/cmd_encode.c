// vjepa encode --checkpoint REF VIDEO ... --out FILE.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "evals/encode.h"
#include "jobs/cli/commands.h"

static vj_status parse_layers(const char *text, vj_encode_request *q)
{
    for (const char *at = text; *at;) {
        char word[16];
        int64_t layer;
        const size_t n = strcspn(at, ",");
        VJ_CHECK(n > 0 && n < sizeof word && q->n_layers < VJ_ENCODE_LAYERS, VJ_ERR_USAGE, "--layers %s: blocks with commas between are expected, such as 5,11,-1", text);
        memcpy(word, at, n);
        word[n] = '\0';
        VJ_CHECK(vj_parse_i64(word, &layer) && layer > -1000 && layer < 1000, VJ_ERR_USAGE, "--layers %s: '%s' is no block", text, word);
        q->layers[q->n_layers++] = (int)layer;
        at += n + (at[n] == ',');
    }
    return VJ_OK;
}

static void print_result(const vj_encode_request *q, const vj_encode_result *r)
{
    for (int i = 0; i < q->n_videos; i++) {
        const vj_encode_video *v = &r->videos[i];
        if (v->ok) printf("%s: %lld clip%s, %.1f s\n", v->path, (long long)v->clips, v->clips == 1 ? "" : "s", v->seconds);
        else if (v->path) printf("%s: left out: %s\n", v->path, v->problem);
    }
    printf("%s: %s of %s, %lld frames x %lld px at %g a second, %d layer%s, %lld tokens of %lld\n", q->out, q->network, r->source, (long long)r->frames,
           (long long)r->crop, r->fps, r->n_layers, r->n_layers == 1 ? "" : "s", (long long)r->tokens, (long long)r->width);
}

static void put_result(const vj_encode_request *q, const vj_encode_result *r)
{
    vj_json_writer w = { .pretty = true };
    vj_json_begin_object(&w, NULL);
    vj_json_put_text(&w, "out", q->out);
    vj_json_put_text(&w, "checkpoint", r->source);
    vj_json_put_text(&w, "network", q->network);
    vj_json_put_text(&w, "model", r->model);
    vj_json_put_i64(&w, "frames", r->frames);
    vj_json_put_i64(&w, "crop", r->crop);
    vj_json_put_f64(&w, "fps", r->fps);
    vj_json_put_i64(&w, "tokens", r->tokens);
    vj_json_put_i64(&w, "width", r->width);
    vj_json_begin_array(&w, "layers");
    for (int i = 0; i < r->n_layers; i++) vj_json_put_i64(&w, NULL, r->layers[i]);
    vj_json_end_array(&w);
    vj_json_begin_array(&w, "videos");
    for (int i = 0; i < q->n_videos; i++) {
        const vj_encode_video *v = &r->videos[i];
        vj_json_begin_object(&w, NULL);
        vj_json_put_text(&w, "path", v->path ? v->path : q->videos[i]);
        vj_json_put_i64(&w, "clips", v->clips);
        vj_json_put_f64(&w, "seconds", v->seconds);
        vj_json_put_text(&w, "problem", v->problem);
        vj_json_end_object(&w);
    }
    vj_json_end_array(&w);
    vj_json_end_object(&w);
    vj_cli_print_json(&w);
}

vj_status vj_cmd_encode(int argc, char **argv)
{
    vj_encode_request q = { .network = "target_encoder" };
    const char *pool = "none", *layers = NULL;
    int64_t crops = 1, threads = 0;
    bool json = false;
    const vj_option options[] = {
        { "checkpoint", VJ_OPT_TEXT, &q.checkpoint, "REF", "a run, RUN@STEP, a checkpoint, a folder of Hugging Face, a .safetensors or published .pt file" },
        { "out", VJ_OPT_TEXT, &q.out, "FILE", "FILE.safetensors or FILE.h5" },
        { "key", VJ_OPT_TEXT, &q.network, "NETWORK", "target_encoder (default) or encoder" },
        { "pool", VJ_OPT_TEXT, &pool, "none|mean", "every token (default), or their mean" },
        { "layers", VJ_OPT_TEXT, &layers, "L,L", "blocks from 0, or -1 for the last (default); each after the encoder's final norm" },
        { "clips", VJ_OPT_INT, &q.clips, "N", "N windows spread over the video (default: one behind the other, the whole of it)" },
        { "crops", VJ_OPT_INT, &crops, "N", "1: the centre (default); 3: squares along the long side" },
        { "frames", VJ_OPT_INT, &q.frames, "N", "frames of a clip (default: as trained)" },
        { "crop", VJ_OPT_INT, &q.crop, "PX", "side of a clip (default: as trained)" },
        { "fps", VJ_OPT_FLOAT, &q.fps, "X", "frames a second (default: as trained)" },
        { "png", VJ_OPT_TEXT, &q.png, "FILE", "frames of up to 8 videos above their features' principal components" },
        { "heads", VJ_OPT_INT, &q.heads, "N", "encoder heads, where the file does not say" },
        { "threads", VJ_OPT_INT, &threads, "N", "threads that compute (default: CPUs this process may use)" },
        VJ_OPT_JSON(&json),
        { NULL, VJ_OPT_END, NULL, NULL, NULL },
    };
    vj_args args;
    VJ_TRY(vj_cli_parse(&args, options, argc, argv));
    if (args.help) {
        vj_cli_print_help("encode", "--checkpoint REF VIDEO ... --out FILE",
                          "Features of a frozen encoder, streaming, for videos of any length. Per video: PATH/features (clips, crops, layers, tokens,\n"
                          "width) and PATH/times (clips, 2), in seconds; HDF5: /videos/00000/... A video that cannot be decoded is named and left\n"
                          "out (exit code 1; 65 when none can be).\n"
                          "JSON: out, checkpoint, network, model, frames, crop, fps, tokens, width, layers, videos [path, clips, seconds, problem].", options);
        return VJ_OK;
    }
    VJ_CHECK(args.n_overrides == 0, VJ_ERR_USAGE, "%s: encode takes no key=value", args.overrides[0]);
    VJ_CHECK(q.checkpoint != NULL, VJ_ERR_USAGE, "encode needs --checkpoint REF");
    VJ_CHECK(q.out != NULL, VJ_ERR_USAGE, "encode needs --out FILE.safetensors or FILE.h5");
    VJ_TRY(vj_cli_expect(&args, 1, VJ_ARGS_MAX, "VIDEO"));
    VJ_TRY(vj_cli_out_folder(q.out));
    if (q.png) VJ_TRY(vj_cli_out_folder(q.png));
    VJ_CHECK(strcmp(pool, "none") == 0 || strcmp(pool, "mean") == 0, VJ_ERR_USAGE, "--pool %s: none or mean was expected", pool);
    VJ_CHECK(strcmp(q.network, "target_encoder") == 0 || strcmp(q.network, "encoder") == 0, VJ_ERR_USAGE, "--key %s: target_encoder or encoder", q.network);
    VJ_CHECK(q.clips >= 0 && q.frames >= 0 && q.crop >= 0 && q.fps >= 0 && threads >= 0 && threads <= 1024 && crops >= 0 && crops < 100, VJ_ERR_USAGE,
             "--clips, --crops, --frames, --crop, --fps and --threads: numbers from 0 are expected");
    if (layers) VJ_TRY(parse_layers(layers, &q));
    q.pool = strcmp(pool, "mean") == 0;
    q.crops = (int)crops;
    q.threads = (int)threads;
    q.videos = args.positional;
    q.n_videos = args.n_positional;
    vj_encode_result r;
    const vj_status status = vj_encode(&q, &r);
    if (status == VJ_OK || status == VJ_ERR_MISMATCH) {
        if (json) put_result(&q, &r);
        else print_result(&q, &r);
    }
    free(r.videos);
    return status;
}
