/*
 * Asks libxlutil how it reads texts, for the test in main.rs.
 *
 * In: requests on stdin until its end, each a letter and byte strings, every string as its length
 * (32 bits, little endian) and its bytes:
 *
 *   c TEXT KEY... (an empty key ends them)   a configuration and the keys to look up
 *   d TEXT                                   a disk specification
 *   p TEXT                                   a PCI specification
 *   r TEXT                                   a vif's rate
 *
 * Out: one string per request, in the same form: "refused LINE MESSAGE", "aborted" where an
 * assertion of the library failed, or "read" and what was read, one item a line.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libxlutil.h>

static sigjmp_buf aborted;

static void on_abort(int signal)
{
    (void)signal;
    siglongjmp(aborted, 1);
}

/* The next string, with a NUL after its end. */
static char *string(uint32_t *length)
{
    unsigned char head[4];
    if (fread(head, 1, 4, stdin) != 4)
        return NULL;
    *length = head[0] | head[1] << 8 | head[2] << 16 | (uint32_t)head[3] << 24;
    char *bytes = malloc(*length + 1);
    if (!bytes || fread(bytes, 1, *length, stdin) != *length)
        exit(2);
    bytes[*length] = 0;
    return bytes;
}

static void quoted(FILE *out, const char *text)
{
    if (!text) {
        fputs("-", out);
        return;
    }
    fputc('"', out);
    for (; *text; text++) {
        unsigned char byte = *text;
        if (byte >= 0x20 && byte < 0x7f && byte != '"' && byte != '\\')
            fputc(byte, out);
        else
            fprintf(out, "\\x%02x", byte);
    }
    fputc('"', out);
}

static void value(FILE *out, XLU_Config *cfg, XLU_ConfigValue *item)
{
    char *text;
    XLU_ConfigList *list;
    if (xlu_cfg_value_type(item) == XLU_STRING) {
        xlu_cfg_value_get_string(cfg, item, &text, 1);
        quoted(out, text);
        return;
    }
    xlu_cfg_value_get_list(cfg, item, &list, 1);
    fputc('[', out);
    XLU_ConfigValue *inner;
    for (int at = 0; (inner = xlu_cfg_get_listitem2(list, at)); at++) {
        value(out, cfg, inner);
        fputc(',', out);
    }
    fputc(']', out);
}

static void setting(FILE *out, XLU_Config *cfg, const char *key)
{
    const char *text;
    XLU_ConfigList *list;
    long number;
    int entries;

    if (!xlu_cfg_get_list(cfg, key, &list, &entries, 1)) {
        fprintf(out, "\n%s = [", key);
        for (int at = 0; at < entries; at++) {
            value(out, cfg, xlu_cfg_get_listitem2(list, at));
            fputc(',', out);
        }
        fputc(']', out);
    } else if (!xlu_cfg_get_string(cfg, key, &text, 1)) {
        fprintf(out, "\n%s = ", key);
        quoted(out, text);
        if (!xlu_cfg_get_long(cfg, key, &number, 1))
            fprintf(out, " is %ld", number);
    }
}

static void flag(FILE *out, const char *name, const libxl_defbool *flag)
{
    if (!libxl_defbool_is_default(*flag))
        fprintf(out, "\n%s %d", name, libxl_defbool_val(*flag));
}

static void text_of(FILE *out, const char *name, const char *text)
{
    if (text) {
        fprintf(out, "\n%s ", name);
        quoted(out, text);
    }
}

static int disk(FILE *out, XLU_Config *cfg, const char *spec)
{
    libxl_device_disk disk;
    libxl_device_disk_init(&disk);
    int error = xlu_disk_parse(cfg, 1, &spec, &disk);
    if (!error) {
        text_of(out, "target", disk.pdev_path);
        text_of(out, "vdev", disk.vdev);
        fprintf(out, "\nformat %s", libxl_disk_format_to_string(disk.format));
        if (disk.backend)
            fprintf(out, "\nbackendtype %s", libxl_disk_backend_to_string(disk.backend));
        if (disk.specification)
            fprintf(out, "\nspecification %s",
                    libxl_disk_specification_to_string(disk.specification));
        text_of(out, "backend", disk.backend_domname);
        text_of(out, "script", disk.script);
        fprintf(out, "\nwritable %d cdrom %d direct-io-safe %d", disk.readwrite, disk.is_cdrom,
                disk.direct_io_safe);
        flag(out, "discard", &disk.discard_enable);
        flag(out, "trusted", &disk.trusted);
        flag(out, "colo", &disk.colo_enable);
        text_of(out, "colo-host", disk.colo_host);
        if (disk.colo_port)
            fprintf(out, "\ncolo-port %d", disk.colo_port);
        text_of(out, "colo-export", disk.colo_export);
        text_of(out, "active-disk", disk.active_disk);
        text_of(out, "hidden-disk", disk.hidden_disk);
    }
    libxl_device_disk_dispose(&disk);
    return error;
}

static int pci(FILE *out, XLU_Config *cfg, const char *spec)
{
    libxl_device_pci pci;
    libxl_device_pci_init(&pci);
    int error = xlu_pci_parse_spec_string(cfg, &pci, spec);
    if (!error) {
        if (pci.name)
            text_of(out, "name", pci.name);
        else
            fprintf(out, "\nbdf %04x:%02x:%02x.%x all %d", pci.domain, pci.bus, pci.dev, pci.func,
                    pci.vfunc_mask == LIBXL_PCI_FUNC_ALL);
        fprintf(out, "\nvslot %u permissive %d msitranslate %d seize %d power_mgmt %d",
                pci.vdevfn >> 3, pci.permissive, pci.msitranslate, pci.seize, pci.power_mgmt);
        if (pci.rdm_policy != LIBXL_RDM_RESERVE_POLICY_INVALID)
            fprintf(out, "\nrdm_policy %s", libxl_rdm_reserve_policy_to_string(pci.rdm_policy));
    }
    libxl_device_pci_dispose(&pci);
    return error;
}

static int rate(FILE *out, XLU_Config *cfg, const char *spec)
{
    libxl_device_nic nic;
    libxl_device_nic_init(&nic);
    int error = xlu_vif_parse_rate(cfg, spec, &nic);
    if (!error)
        fprintf(out, "\nbytes %" PRIu64 " every %" PRIu32 " us", nic.rate_bytes_per_interval,
                nic.rate_interval_usecs);
    libxl_device_nic_dispose(&nic);
    return error;
}

/* Answers one request: whether the library refused it. */
static int answer(int kind, FILE *out, XLU_Config *cfg, const char *text, int length, char **keys)
{
    if (kind == 'd')
        return disk(out, cfg, text);
    if (kind == 'p')
        return pci(out, cfg, text);
    if (kind == 'r')
        return rate(out, cfg, text);
    int error = xlu_cfg_readdata(cfg, text, length);
    for (int at = 0; !error && keys[at]; at++)
        setting(out, cfg, keys[at]);
    return error;
}

int main(void)
{
    int kind;
    struct sigaction action = { .sa_handler = on_abort, .sa_flags = SA_NODEFER };
    sigaction(SIGABRT, &action, NULL);
    while ((kind = getchar()) != EOF) {
        static char *keys[4096];
        uint32_t length, key_length;
        char *text = string(&length), *body = NULL, *report = NULL;
        size_t body_length, report_length;
        int count = 0;
        if (!text)
            return 2;
        while (kind == 'c' && count < 4095 && (keys[count] = string(&key_length)) && key_length)
            count++;
        keys[count] = NULL;

        FILE *out = open_memstream(&body, &body_length);
        FILE *said = open_memstream(&report, &report_length);
        XLU_Config *cfg = xlu_cfg_init(said, "cfg");
        volatile int refused = 0;
        int died = sigsetjmp(aborted, 1);
        if (!died)
            refused = answer(kind, out, cfg, text, length, keys);
        fclose(out);
        fclose(said);
        const char *verdict = died ? "aborted" : refused ? "refused " : "read";
        const char *rest = died ? "" : refused ? report : body;
        uint32_t total = strlen(verdict) + strlen(rest);
        unsigned char head[4] = { total, total >> 8, total >> 16, total >> 24 };
        fwrite(head, 1, 4, stdout);
        fputs(verdict, stdout);
        fputs(rest, stdout);
        /* The library may hold half a configuration after an abort, and this program ends soon. */
        if (!died)
            xlu_cfg_destroy(cfg);
        free(body);
        free(report);
        free(text);
    }
    return 0;
}
