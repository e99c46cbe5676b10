// Prometheus' text format.

#include "runtime/log/prometheus.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void put_name(vj_str *out, const char *name)
{
    for (const char *c = name; *c; c++) {
        const bool letter = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || *c == '_';
        const bool digit = *c >= '0' && *c <= '9';
        vj_str_add_n(out, letter || (digit && c > name) ? c : "_", 1);
    }
}

// Backslash, newline and (in labels) the quote are escaped; what is no UTF-8 becomes '?': a reader refuses the whole file.
static void put_text(vj_str *out, const char *text, bool label)
{
    for (size_t n; *text; text += n ? n : 1) {
        n = vj_utf8_length(text);
        if (n == 0) vj_str_add(out, "?");
        else if (*text == '\\') vj_str_add(out, "\\\\");
        else if (*text == '\n') vj_str_add(out, "\\n");
        else if (*text == '"' && label) vj_str_add(out, "\\\"");
        else vj_str_add_n(out, text, n);
    }
}

// The shortest that reads back as the same number.
static void put_number(vj_str *out, double value)
{
    char text[40];
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) break;
    }
    vj_str_printf(out, " %s\n", text);
}

void vj_prometheus_gauge(vj_str *out, const char *name, const char *help)
{
    vj_str_add(out, "# HELP ");
    put_name(out, name);
    vj_str_add(out, " ");
    put_text(out, help, false);
    vj_str_add(out, "\n# TYPE ");
    put_name(out, name);
    vj_str_add(out, " gauge\n");
}

void vj_prometheus_sample(vj_str *out, const char *name, const vj_label *labels, int n_labels, double value)
{
    put_name(out, name);
    for (int i = 0; i < n_labels; i++) {
        vj_str_add(out, i == 0 ? "{" : ",");
        put_name(out, labels[i].name);
        vj_str_add(out, "=\"");
        put_text(out, labels[i].value, true);
        vj_str_add(out, "\"");
    }
    if (n_labels > 0) vj_str_add(out, "}");
    if (isnan(value)) vj_str_add(out, " NaN\n");
    else if (isinf(value)) vj_str_add(out, value > 0 ? " +Inf\n" : " -Inf\n");
    else put_number(out, value);
}

vj_status vj_prometheus_write(const char *path, const vj_str *text)
{
    char *temporary = NULL;
    VJ_CHECK(asprintf(&temporary, "%s.tmp-%d", path, (int)getpid()) > 0, VJ_ERR_NOMEM, "no memory for a file name");
    vj_status status = VJ_OK;
    const int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);   // the collector is another user
    bool good = fd >= 0;
    if (good) good = write(fd, vj_str_text(text), text->length) == (ssize_t)text->length;
    int error = errno;
    if (fd >= 0 && close(fd) != 0 && good) {
        good = false;
        error = errno;
    }
    if (good && rename(temporary, path) != 0) {
        good = false;
        error = errno;
    }
    if (!good) {
        status = vj_fail(VJ_ERR_IO, "%s: cannot be written: %s", path, error ? strerror(error) : "no space left on device");
        if (fd >= 0) unlink(temporary);
    }
    free(temporary);
    return status;
}
