// Writes java.zip, java_stored.zip and java_file_system.zip with the file that is named: `java Make.java erp.dump`.
import java.io.FileOutputStream;
import java.net.URI;
import java.nio.file.*;
import java.util.Map;
import java.util.zip.*;

public class Make {
    public static void main(String[] arguments) throws Exception {
        byte[] dump = Files.readAllBytes(Path.of(arguments[0]));
        try (var zip = new ZipOutputStream(new FileOutputStream("java.zip"))) {
            zip.putNextEntry(new ZipEntry("erp.dump"));
            zip.write(dump);
        }
        try (var zip = new ZipOutputStream(new FileOutputStream("java_stored.zip"))) {
            var crc = new CRC32();
            crc.update(dump);
            var entry = new ZipEntry("erp.dump");
            entry.setMethod(ZipEntry.STORED);
            entry.setSize(dump.length);
            entry.setCrc(crc.getValue());
            entry.setComment("by hand");
            zip.putNextEntry(entry);
            zip.write(dump);
        }
        var uri = URI.create("jar:" + Path.of("java_file_system.zip").toUri());
        try (var files = FileSystems.newFileSystem(uri, Map.of("create", "true"))) {
            Files.createDirectory(files.getPath("nightly"));
            Files.write(files.getPath("nightly/erp.dump"), dump);
        }
    }
}
